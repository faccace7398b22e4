"""Takes a kernel and its modules out of Debian's package, which is never installed anywhere, and picks modules."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.image import recipe
from infra.image.chamber import inside
from infra.image.cpio import Entry, file
from pachon.errors import PermanentError

INDEXES = ("modules.alias", "modules.builtin", "modules.dep", "modules.softdep")


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel package."""

    version: str
    """As ``uname -r`` says it."""
    image: Path
    tree: Path
    """Has ``lib/modules/<version>``."""

    @property
    def modules(self) -> Path:
        """Folder of the modules."""
        return self.tree / "lib" / "modules" / self.version


def unpack(debs: Path, target: Path) -> Kernel:
    """The kernel of the one kernel package among ``debs``, unpacked into ``target``, its module index made."""
    packages = sorted(debs.glob("linux-image-*.deb"))
    if len(packages) != 1:
        raise PermanentError(f"{len(packages)} kernel packages in {debs} instead of one", cure="bake the tree anew")
    target.mkdir()
    inside(["dpkg-deb", "-x", packages[0], target])
    versions = sorted(path.name for path in (target / "lib" / "modules").iterdir())
    version = versions[0]
    kernel = Kernel(version=version, image=target / "boot" / f"vmlinuz-{version}", tree=target)
    inside(["depmod", "-b", target, version])
    return kernel


def initial(kernel: Kernel, *, network: bool) -> list[Entry]:
    """Entries of the modules of an initial RAM disk: what ``recipe`` wants and what that needs, with their index."""
    needs = _dependencies(kernel.modules / "modules.dep")
    chosen = choose(needs, network=network)
    if not chosen:
        raise PermanentError(f"no module was chosen out of {kernel.modules}", cure="see recipe.DISK_MODULE_FOLDERS")
    place = f"usr/lib/modules/{kernel.version}"
    entries = [file(f"{place}/{name}", (kernel.modules / name).read_bytes()) for name in sorted(chosen)]
    stems = {_stem(name) for name in chosen}
    for index in INDEXES:
        lines = (kernel.modules / index).read_text().splitlines()
        entries.append(file(f"{place}/{index}", _lines(index, lines, chosen=chosen, stems=stems)))
    return entries


def choose(needs: Mapping[str, Iterable[str]], *, network: bool) -> set[str]:
    """Names out of ``modules.dep`` that go into a RAM disk: for disks only, or for the network as well."""
    folders = recipe.DISK_MODULE_FOLDERS + (recipe.NETWORK_MODULE_FOLDERS if network else ())
    names = recipe.DISK_MODULES + (recipe.NETWORK_MODULES if network else ())
    prefixes = tuple(f"{folder}/" for folder in folders)
    chosen: set[str] = set()
    for name in sorted(needs):
        path = name.removeprefix("kernel/")
        left_out = any(part.startswith(recipe.MODULES_LEFT_OUT) for part in path.split("/"))
        if path.removesuffix(".ko") in names or (path.startswith(prefixes) and not left_out):
            chosen.update((name, *needs[name]))
    return chosen


def _lines(index: str, lines: Iterable[str], *, chosen: set[str], stems: set[str]) -> bytes:
    """The part of an index file that is about the chosen modules."""
    match index:
        case "modules.dep":
            kept = [line for line in lines if line.split(":")[0] in chosen]
        case "modules.alias":
            kept = [line for line in lines if line.split()[-1] in stems]
        case "modules.softdep":
            kept = [line for line in lines if not line.startswith("softdep") or line.split()[1] in stems]
        case _:
            kept = list(lines)
    return ("\n".join(kept) + "\n").encode()


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].split(".", maxsplit=1)[0].replace("-", "_")


def _dependencies(index: Path) -> dict[str, tuple[str, ...]]:
    pairs = (line.split(":", 1) for line in index.read_text().splitlines() if ":" in line)
    return {name: tuple(needs.split()) for name, needs in pairs}
