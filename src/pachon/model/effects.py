"""What tasks of Ansible leave on a host, by module and resolved arguments: a closed list, and nothing guessed.

Used where Ansible tells of its tasks (the callback plug-in) and where they are only read (what images bring). Plain
dictionaries and the standard library, since Ansible's process loads it too.
"""

import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict


class Effect(TypedDict):
    """One thing that a task manages; the same fields as ``pachon.model.manifest.Subject`` has."""

    kind: str
    name: str
    aspects: list[str]
    """What of it the task decides."""
    declared: dict[str, str]
    """What the task says outright; the rest is read off the host."""
    secret: bool
    whole: bool


PLACE = ("mode", "owner", "group")
CONTENT = ("content", *PLACE)
ACCOUNT = ("uid", "gid", "title", "home", "housed", "shell", "groups", "password")
RUNNING = {"started": "yes", "restarted": "yes", "reloaded": "yes", "stopped": "no"}
BUILTIN = "ansible.builtin."

Arguments = Mapping[str, object]


def effects_of(
    module: str, arguments: Arguments, *, secret: bool = False, whole: bool = False, copied: Sequence[str] = ()
) -> list[Effect] | None:
    """What the task leaves; None if that cannot be said from its module and arguments.

    ``copied`` are the names below its destination of what a task copies that copies a folder.
    """
    name = module.removeprefix(BUILTIN)
    if name in NOTHING:
        return []
    reader = MODULES.get(name)
    try:
        found = None if reader is None else reader(arguments, copied)
    except KeyError:
        return None
    return None if found is None else [{**effect, "secret": secret, "whole": whole} for effect in found]


def _effect(kind: str, name: object, aspects: Sequence[str] = (), **declared: str) -> Effect:
    return {
        "kind": kind,
        "name": str(name),
        "aspects": list(aspects),
        "declared": declared,
        "secret": False,
        "whole": False,
    }


def _path(arguments: Arguments) -> str:
    for key in ("path", "dest", "name"):
        if arguments.get(key):
            return str(arguments[key])
    raise KeyError("path")


def _file(arguments: Arguments, copied: Sequence[str]) -> list[Effect]:
    path, state = _path(arguments).rstrip("/"), arguments.get("state") or "file"
    match state:
        case "directory":
            return [_effect("folder", path, PLACE)]
        case "link":
            return [_effect("link", path, ("target",))]
        case "absent":
            return [_effect("absent", path)]
        case _:
            return [_effect("file", path, PLACE)]


def _content(arguments: Arguments, copied: Sequence[str]) -> list[Effect]:
    path = str(arguments["dest"])
    if copied:
        return [_effect("file", posixpath.join(path, each), CONTENT) for each in copied]
    if path.endswith("/"):
        path += posixpath.basename(str(arguments["src"]))
    # Ansible leaves a file alone that is not to be forced: also its mode and owner, once it is there.
    return [_effect("file", path, CONTENT if arguments.get("force") is not False else ())]


def _unit(arguments: Arguments, copied: Sequence[str]) -> list[Effect]:
    if not arguments.get("name"):
        return []
    running = RUNNING.get(str(arguments.get("state") or ""), "")
    aspects = [*(["enabled"] if arguments.get("enabled") is not None else []), *(["running"] if running else [])]
    return [_effect("unit", arguments["name"], aspects, **({"running": running} if running else {}))]


def _user(arguments: Arguments, copied: Sequence[str]) -> list[Effect]:
    return [_effect("user", arguments["name"], ACCOUNT)]


def _group(arguments: Arguments, copied: Sequence[str]) -> list[Effect]:
    return [_effect("group", arguments["name"], ("gid", "members"))]


def _packages(arguments: Arguments, copied: Sequence[str]) -> list[Effect]:
    names = arguments["name"]
    return [_effect("package", name, ("version",)) for name in (names if isinstance(names, list) else [names])]


def _mount(arguments: Arguments, copied: Sequence[str]) -> list[Effect]:
    return [_effect("mount", str(arguments["path"]).rstrip("/") or "/", ("type", "root", "options"))]


def _sysctl(arguments: Arguments, copied: Sequence[str]) -> list[Effect]:
    return [_effect("sysctl", arguments["name"], ("value",))]


def _ruleset(arguments: Arguments, copied: Sequence[str]) -> list[Effect]:
    return [_effect("ruleset", "nftables", ("content",))]


MODULES: dict[str, Callable[[Arguments, Sequence[str]], list[Effect]]] = {
    "ansible.posix.mount": _mount,
    "ansible.posix.sysctl": _sysctl,
    "apt": _packages,
    "copy": _content,
    "file": _file,
    "group": _group,
    "nftables_ruleset": _ruleset,
    "package": _packages,
    "systemd_service": _unit,
    "template": _content,
    "user": _user,
}
"""Modules whose effects can be expressed. ``nftables_ruleset`` is no module of Ansible: roles say it of their own."""

NOTHING = ("assert", "debug", "fail", "import_tasks", "include_tasks", "meta", "validate_argument_spec")
"""Modules that leave nothing on a host."""

INEXPRESSIBLE = ("command", "site_certificate")
"""Further modules that roles may use: such a task's effect is unknown unless its role says what it leaves."""
