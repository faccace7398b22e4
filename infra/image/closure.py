"""Picks programs out of a tree together with the libraries and the Python modules that they need."""

import re
from collections.abc import Iterable
from pathlib import Path

from infra.image import recipe
from infra.image.chamber import inside
from infra.image.cpio import Entry, file, link
from pachon.errors import PermanentError

PYTHON = "usr/lib/python3.11"
LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x[0-9a-f]+\)")
MERGED = ("bin", "lib", "lib64", "sbin")
"""Folders that are links into usr/."""


def merged_links() -> list[Entry]:
    """The links from /bin, /lib, … into /usr."""
    return [link(name, f"usr/{name}") for name in MERGED]


def resolve(tree: Path, path: str) -> Path:
    """The file that ``path`` means inside the tree, links followed there and not in our own root."""
    parts = [part for part in path.split("/") if part]
    here = tree
    for _ in range(200):
        if not parts:
            return here
        part = parts.pop(0)
        if part == "..":
            here = here.parent if here != tree else tree
            continue
        step = here / part
        if step.is_symlink():
            target = str(step.readlink())
            parts = [piece for piece in target.split("/") if piece] + parts
            here = tree if target.startswith("/") else here
        else:
            here = step
    raise PermanentError(f"too many links at {path} in {tree}", cure="bake the tree anew")


def programs(tree: Path, wanted: Iterable[str]) -> list[Entry]:
    """Entries of the programs and of all libraries that they are linked with."""
    chosen = list(wanted)
    return [_copy(tree, path, executable=True) for path in [*chosen, *_libraries(tree, chosen)]]


def python_modules(tree: Path) -> list[Entry]:
    """Entries of the standard library, compiled, without what ``recipe.PYTHON_LEFT_OUT`` names."""
    root = tree / PYTHON
    entries = []
    for source in sorted(root.rglob("*.py")):
        name = str(source.relative_to(root).with_suffix(""))
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-311.pyc"
        if _python_wanted(name) and compiled.is_file():
            entries.append(file(f"{PYTHON}/{name}.pyc", compiled.read_bytes()))
    extensions = [
        f"/{PYTHON}/lib-dynload/{path.name}"
        for path in sorted((root / "lib-dynload").glob("*.so"))
        if _python_wanted(f"lib-dynload/{path.name}")
    ]
    if not entries or not extensions:
        raise PermanentError(f"{tree} has no compiled Python library", cure="bake the tree anew")
    return entries + programs(tree, extensions)


def _python_wanted(name: str) -> bool:
    left_out = recipe.PYTHON_LEFT_OUT
    if name.startswith("lib-dynload/"):
        return not name.startswith(tuple(item for item in left_out if item.startswith("lib-dynload/")))
    return not any(name == item or name.startswith(item + "/") for item in left_out)


def _libraries(tree: Path, paths: list[str]) -> list[str]:
    said = inside(["chroot", tree, "ldd", *paths], tree=tree).stdout
    missing = [line.strip() for line in said.splitlines() if "not found" in line]
    if missing:
        raise PermanentError(f"libraries are missing in the tree: {'; '.join(missing)}", cure="see recipe.PRUNED")
    return sorted(set(LIBRARY.findall(said)))


def _copy(tree: Path, path: str, *, executable: bool) -> Entry:
    place = path.lstrip("/")
    if place.split("/")[0] in MERGED:
        place = f"usr/{place}"
    return file(place, resolve(tree, path).read_bytes(), executable=executable)
