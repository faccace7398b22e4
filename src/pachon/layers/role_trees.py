"""What the text of a role comes to: one digest for each, which moves with everything that a live host sees of it."""

import hashlib
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

from pachon.errors import TemporaryError
from pachon.model.stamp import digest
from pachon.places import CHECKOUT

PLAYBOOKS = CHECKOUT / "playbooks"
NOT_PLAYED = {"README.md", "__pycache__", "tests"}
PLUGINS = ("action", "lookup")


@lru_cache(maxsize=4)
def role_trees(playbooks: Path = PLAYBOOKS) -> Mapping[str, str]:
    """Digest by role, for all roles that have a folder. Read once in the life of a process (errors as below)."""
    return trees_now(playbooks)


def trees_now(playbooks: Path = PLAYBOOKS) -> Mapping[str, str]:
    """The same, read again.

    Raises:
        TemporaryError: files move while they are read: by a checkout, by an editor.
    """
    plugins = {path.stem: path for kind in PLUGINS for path in (playbooks / "plugins" / kind).glob("*.py")}
    try:
        return {
            folder.name: _tree(folder, plugins) for folder in sorted((playbooks / "roles").iterdir()) if folder.is_dir()
        }
    except OSError as error:
        raise TemporaryError(
            f"texts of roles cannot be read: {error}", cure="run the same command again once nobody changes them"
        ) from error


def role_texts() -> str:
    """One digest of the texts of all roles, as this process goes by them."""
    return digest(dict(role_trees()))


@cache
def has_host_part(role: str, playbooks: Path = PLAYBOOKS) -> bool:
    """Whether the role says what is the host's own apart from what images bring."""
    return (playbooks / "roles" / role / "tasks" / "host.yml").is_file()


@cache
def has_image_part(role: str, playbooks: Path = PLAYBOOKS) -> bool:
    """Whether the role says what images bring apart from what is the host's own."""
    return (playbooks / "roles" / role / "tasks" / "image.yml").is_file()


def _tree(folder: Path, plugins: Mapping[str, Path]) -> str:
    """Name, permission to execute and digest of each file, and of our plug-ins that a file names."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and NOT_PLAYED.isdisjoint(inside.parts):
            content = path.read_bytes()
            mode = "x" if path.stat().st_mode & 0o100 else "-"
            found[str(inside)] = f"{mode} {hashlib.sha256(content).hexdigest()}"
            for name, plugin in plugins.items():
                if name.encode() in content:
                    found[f"plug-in {name}"] = hashlib.sha256(plugin.read_bytes()).hexdigest()
    return digest(found)
