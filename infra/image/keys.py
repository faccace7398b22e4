"""Digests of what each stage is made from: two bakes of the same inputs share everything, of others nothing."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from infra.image import programs, recipe
from pachon.places import CHECKOUT

HERE = Path(__file__).resolve().parent
PLAYBOOKS = CHECKOUT / "playbooks"
AGENT = CHECKOUT / "infra" / "boot" / "agent"
"""Folder of the agent's modules."""
NOT_BAKED = ("README.md", "__pycache__", "handlers", "host", "host.yml", "tests")
"""What only live hosts see of a role: ``tasks/host.yml`` and what lies in ``files/host`` and ``templates/host``."""


@dataclass(frozen=True)
class Keys:
    """Sixteen hex digits per stage."""

    base: str
    server: str
    tree: str
    """The tree of the flavour: for ``server`` the same as ``server``."""
    root: str
    kernel: str
    deploy_ground: str
    """All of the deploy image but the agent."""
    deploy: str


def roles_beyond_server(flavour: str) -> tuple[str, ...]:
    """Roles that a flavour adds to the server tree."""
    return tuple(role for role in recipe.FLAVOURS[flavour] if role not in recipe.FLAVOURS["server"])


def keys(flavour: str, *, playbooks: Path = PLAYBOOKS, agent: Path = AGENT) -> Keys:
    """The keys of all stages of one flavour."""
    base = _key(
        "base",
        recipe.AS_OF,
        recipe.SUITE,
        recipe.PACKAGES,
        recipe.PRUNED,
        recipe.KEPT,
        recipe.KERNEL_PACKAGE,
        recipe.BOOT_PACKAGES,
        recipe.PURGED,
        *_sources("apt.py", "tree.py", "files/fetch-boot-packages.sh", "files/purge-packages.sh"),
    )
    playing = [playbooks / "image.yml", *(playbooks / "plugins" / "connection").rglob("*.py"), CHECKOUT / "ansible.cfg"]
    server = _key(base, *_files(playing), *_roles(playbooks, recipe.FLAVOURS["server"]), *_sources("play.py"))
    extra = roles_beyond_server(flavour)
    more = _installed(flavour)
    tree = _key(server, *more, *_roles(playbooks, extra)) if extra or more else server
    initial = _sources("closure.py", "cpio.py", "initrd.py", "modules.py", "recipe.py", "files/load-modules.sh")
    kernel = _key(base, *initial, *_sources("esp.py", "uki.py", "files/disk-init.sh"))
    scripts = _sources("files/deploy-init.sh", "files/dhcp-lease.sh")
    ground = _key(base, *initial, *_sources("deploy.py", "esp.py"), *scripts)
    return Keys(
        base=base,
        server=server,
        tree=tree,
        root=_key(tree, *_sources("disk.py")),
        kernel=kernel,
        deploy_ground=ground,
        deploy=_key(ground, *_sources("uki.py"), *_files(agent.glob("*.py"))),
    )


def _installed(flavour: str) -> list[object]:
    """What decides about the packages and programs that a flavour has beyond those of all."""
    if flavour not in recipe.FLAVOUR_PACKAGES:
        return []
    pruned, kept = recipe.FLAVOUR_PRUNED.get(flavour, ()), recipe.FLAVOUR_KEPT.get(flavour, ())
    whole = recipe.FLAVOUR_WHOLE.get(flavour, ())
    chosen = [recipe.FLAVOUR_PACKAGES[flavour], pruned, kept, whole, dict(recipe.ACCOUNTS)]
    laid = programs.inputs(flavour)
    made = [*laid, *_sources("oci.py", "programs.py")] if laid else []
    return [*chosen, *_sources("files/install-packages.sh"), *made]


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _sources(*names: str) -> list[str]:
    return _files(HERE / name for name in names)


def _roles(playbooks: Path, roles: Iterable[str]) -> list[str]:
    return _files(path for role in roles for path in (playbooks / "roles" / role).rglob("*"))


def _files(paths: Iterable[Path]) -> list[str]:
    """Name, permission to execute and digest of each file, sorted."""
    found = []
    for path in sorted(set(paths)):
        if path.is_file() and not any(part in NOT_BAKED for part in path.parts[-6:]):
            name = _name(path)
            mode = "x" if path.stat().st_mode & 0o100 else "-"
            found.append(f"{name} {mode} {hashlib.sha256(path.read_bytes()).hexdigest()}")
    return found


def _name(path: Path) -> str:
    """The file's name in the checkout, the same in every checkout."""
    return str(path.relative_to(CHECKOUT)) if path.is_relative_to(CHECKOUT) else "/".join(path.parts[-3:])
