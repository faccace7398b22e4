"""Draws mutations of hosts from what is expected of them: by seed, at most one for each task, none in another's way."""

import posixpath
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pachon.model.manifest import Expected

OPTIONAL = ("install", "purge")
SORTS: dict[str, str] = {
    **dict.fromkeys(("append", "empty", "swap", "remove", "link", "folder", "retarget", "file", "appear"), "files"),
    **dict.fromkeys(("chmod", "narrow"), "modes"),
    **dict.fromkeys(("chown", "chgrp"), "owners"),
    **dict.fromkeys(("cover", "remount"), "mounts"),
    **dict.fromkeys(("stop", "start", "disable", "enable", "mask"), "units"),
    **dict.fromkeys(("title", "home", "shell", "uid", "gid", "gone", "member", "members", "password"), "users"),
    **dict.fromkeys(("rule", "table", "unrule"), "firewall rules"),
    **dict.fromkeys(OPTIONAL, "packages"),
    "homeless": "users",
    "set": "sysctls",
    "stranger": "strangers",
    "touch": "nothing",
    "rewrite": "nothing",
}
"""What each way of mutating is a mutation of."""
FILE = ("append", "empty", "swap", "remove", "link", "folder", "chmod", "chown", "chgrp", "cover", "touch", "rewrite")
FOLDER = ("remove", "link", "chmod", "chown", "chgrp", "cover", "stranger")
LINK = ("remove", "retarget", "file", "chown", "chgrp")
ACCOUNT = ("title", "home", "shell", "uid", "member", "password", "gone", "homeless")
GROUP = ("gid", "members", "gone")
WIDE = ("remove", "link", "cover")
"""Of a folder: nothing below it can be mutated beside them."""
DOORS = ("/etc/ssh", "/etc/sudoers.d", "/etc/systemd/network", "/srv", "/var/lib/pachon")
"""Without what lies here nobody could take the mutations back."""
DOOR_FILE = ("append", "narrow", "chgrp", "touch", "rewrite")
DOOR_UNITS = ("dbus.service", "ssh.service", "systemd-networkd.service")
ALWAYS_UP = ("systemd-journald.service",)
"""Units that a socket starts again at once."""
DOOR_FORWARDING = "forward"
"""Part of the names of kernel settings on which the ways between hosts hang."""


@dataclass(frozen=True)
class Mutation:
    """One thing of one host that is changed."""

    draw: int
    """Seed of the batch that it is in."""
    number: int
    """In the batch."""
    host: str
    how: str
    """The program's word for it."""
    kind: str
    name: str
    """Of the subject."""
    role: str
    task: str
    """What owns it."""
    chance: int
    """Seed of what is left to chance on the host."""

    @property
    def sort(self) -> str:
        """What it is a mutation of."""
        return SORTS[self.how]

    def touches(self, name: str) -> bool:
        """Whether a subject of this name is the mutated one, or lies in it and goes with it."""
        inside = self.how in (*WIDE, "stranger") and name.startswith(f"{self.name}/")
        return name == self.name or inside

    def __str__(self) -> str:
        return f"{self.draw}:{self.number} {self.how} {self.kind} {self.name} on {self.host} ({self.role}: {self.task})"


def drawn(expected: Mapping[str, Sequence[Expected]], *, seed: int, automation: str = "pachon") -> list[Mutation]:
    """All mutations of one batch, in an order in which the first of them are spread over hosts, tasks and ways."""
    chance = random.Random(seed)
    found: list[tuple[str, str, Expected, tuple[str, str]]] = []
    for host in sorted(expected):
        taken: dict[str, bool] = {}
        for owner, subjects in _by_task(expected[host]):
            options = [(each, how) for each in subjects for how in _ways(each, owner, automation)]
            chance.shuffle(options)
            # Ways of one sort are many for files and one for sysctls: first the way, then the subject.
            ways = list(dict.fromkeys(how for _, how in options))
            for way in ways:
                fits = [each for each, how in options if how == way and _is_free(each, how, taken)]
                if fits:
                    each = fits[0]
                    taken[each.name] = each.kind == "folder" and way in WIDE
                    found.append((host, way, each, owner))
                    break
    chance.shuffle(found)
    return [
        Mutation(
            draw=seed,
            number=number,
            host=host,
            how=how,
            kind=each.kind,
            name=each.name,
            role=role,
            task=task,
            chance=chance.getrandbits(32),
        )
        for number, (host, how, each, (role, task)) in enumerate(found)
    ]


def _by_task(expected: Sequence[Expected]) -> Iterator[tuple[tuple[str, str], list[Expected]]]:
    """Subjects of each role's task, each once and with the task that owns most of it."""
    found: dict[tuple[str, str], list[Expected]] = {}
    for each in expected:
        for owner in dict.fromkeys(each.owners.values()):
            found.setdefault(owner, []).append(each)
    yield from sorted(found.items())


def _is_free(each: Expected, how: str, taken: Mapping[str, bool]) -> bool:
    """Whether nothing that is mutated already is the same thing, lies in what goes, or goes with it."""
    name, wide = each.name, each.kind == "folder" and how in WIDE
    if name in taken:
        return False
    for other, is_wide in taken.items():
        if is_wide and name.startswith(f"{other}/"):
            return False
        if wide and other.startswith(f"{name}/"):
            return False
    return True


def _ways(each: Expected, owner: tuple[str, str], automation: str) -> tuple[str, ...]:
    """How the subject can be mutated so that the task owns what changes."""
    owned = {aspect for aspect, its in each.owners.items() if its == owner}
    is_there = each.values.get("is") != "absent"
    match each.kind:
        case "file" if not is_there:
            return ("appear",)
        case "file" | "folder" if _is_door(each.name):
            whole = ("stranger",) if each.kind == "folder" and each.allowed is not None else ()
            return DOOR_FILE if each.kind == "file" else ("narrow", *whole)
        case "file":
            return FILE
        case "folder":
            return FOLDER
        case "link":
            return LINK
        case "unit":
            return _unit_ways(each, owned)
        case "user" if each.name == automation:
            return ("title", "member")
        case "user" if is_there:
            return ACCOUNT
        case "group" if each.name == automation:
            return ("members",)
        case "group" if is_there:
            return GROUP
        case "sysctl" if is_there and DOOR_FORWARDING not in each.name:
            return ("set",)
        case "ruleset":
            return ("rule", "table", "unrule")
        case "package" if each.name == "*":
            return OPTIONAL
        case "mount" if is_there:
            return ("remount",)
        case _:
            return ()


def _unit_ways(each: Expected, owned: set[str]) -> tuple[str, ...]:
    """A unit in another state than the task wants, as far as the host stays within reach."""
    if each.name in (*DOOR_UNITS, *ALWAYS_UP) or each.values.get("is") == "absent":
        return ()
    ways: list[str] = []
    if "running" in owned and "running" in each.values:
        ways.append("stop" if each.values["running"] == "yes" else "start")
    if "enabled" in owned and each.values.get("enabled") in ("enabled", "disabled"):
        ways += ["disable", "mask"] if each.values["enabled"] == "enabled" else ["enable"]
    return tuple(ways)


def _is_door(path: str) -> bool:
    return any(path == door or path.startswith(f"{door}/") or posixpath.dirname(door) == path for door in DOORS)
