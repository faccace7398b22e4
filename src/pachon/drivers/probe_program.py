"""Runs on a host: reads what roles left there, or compares it with what is expected, in one round.

Sent over SSH and run as root (``pachon.drivers.probe``); needs nothing but the standard library, and little of that:
on a slow host importing is most of what it costs (``json`` alone is half as much again as starting Python).
"""

from __future__ import annotations

import os
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

try:
    from _blake2 import blake2b  # the whole of hashlib loads OpenSSL
except ImportError:
    from hashlib import blake2b

CACHED_BYTES = 65536
"""Smaller files are read each time: that costs no more than to look them up."""
SETTLED_NS = 2_000_000_000
"""A file that was changed more recently may be changed once more within the same tick of its clock."""
RUNNING = ("active", "activating", "reloading", "refreshing")
ABSENT = {"is": "absent"}
ESCAPED = "backslashreplace"
"""How what is no UTF-8 is read: its bytes as ``\\xff``."""
NAME_BYTES = 200
"""Of what is put aside under a name of its own and some more: a name may have 255."""
RULES_FOLDER = "/etc/pachon/firewall.d"
OTHERS = "# table of another:"
"""A line in a file of that folder: this table is filled by a program of the host itself, as kube-proxy does."""
ANY = tuple(range(256))
"""Exit statuses of what may fail: whoever asks looks again."""
LATER = "nothing to do: the later run carries on"


class Probe:
    """One round; what several subjects need is read once."""

    def __init__(self, call: dict[str, Any]) -> None:
        self.root: str = call.get("root", "")
        self.key = bytes.fromhex(call.get("key", ""))
        self.cache_path = call.get("cache", "")
        self.known: dict[str, str] | None = None
        self.used: dict[str, str] = {}
        self.names: dict[str, dict[int, str]] = {
            file: {int(line[2]): line[0] for line in self.lines(file)} for file in ("passwd", "group")
        }

    def at(self, path: str) -> str:
        """Where a path of the host is read (tests have a tree of their own)."""
        return self.root + path

    def lines(self, name: str) -> list[list[str]]:
        """Rows of an account file."""
        try:
            with open(self.at(f"/etc/{name}"), errors=ESCAPED) as file:
                rows = [line.rstrip("\n").split(":") for line in file]
        except OSError:
            return []
        return [row for row in rows if len(row) > 3]

    def kept(self, key: str) -> str | None:
        """The digest that an earlier round kept under that key, a line ``KEY DIGEST`` of the cache."""
        if self.known is None:
            try:
                with open(self.cache_path) as file:
                    self.known = dict(line.rstrip("\n").split(" ", 1) for line in file)
            except (OSError, ValueError):
                self.known = {}
        return self.known.get(key)

    def keep(self) -> None:
        """Write the digests of large files for the next round, where only root may read and write them."""
        if not self.cache_path or self.known is None or self.used == self.known:
            return
        try:
            os.makedirs(os.path.dirname(self.cache_path), mode=0o700, exist_ok=True)
            draft = f"{self.cache_path}.{os.getpid()}"
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.writelines(f"{key} {made}\n" for key, made in self.used.items())
            os.replace(draft, self.cache_path)
        except OSError:
            pass

    def digest(self, content: bytes, secret: bool = False) -> str:
        """Digest of some bytes, keyed if they are secret."""
        made: str = blake2b(content, digest_size=16, key=self.key if secret else b"").hexdigest()
        return made

    def content(self, path: str, found: os.stat_result, secret: bool) -> str:
        """Digest of a file's content."""
        cached = found.st_size >= CACHED_BYTES and not secret
        key = f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"
        if cached and (kept := self.kept(key)) is not None:
            self.used[key] = kept
            return kept
        state = blake2b(digest_size=16, key=self.key if secret else b"")
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            while block := file.read(1 << 20):
                state.update(block)
        made: str = state.hexdigest()
        if cached and time.time_ns() - found.st_ctime_ns > SETTLED_NS:
            self.used[key] = made
        return made

    def path(self, name: str, aspects: list[str], secret: bool) -> dict[str, Any]:
        """What lies at a path."""
        path = self.at(name)
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return ABSENT
        mode = found.st_mode
        told: dict[str, Any] = {
            "mode": f"{stat.S_IMODE(mode):04o}",
            "owner": self.names["passwd"].get(found.st_uid, str(found.st_uid)),
            "group": self.names["group"].get(found.st_gid, str(found.st_gid)),
        }
        if stat.S_ISLNK(mode):
            return {"is": "link", "target": shown(os.readlink(path)), **told}
        if stat.S_ISDIR(mode):
            entries = {"entries": sorted(map(shown, os.listdir(path)))} if "entries" in aspects else {}
            return {"is": "folder", **entries, **told}
        if not stat.S_ISREG(mode):
            return {"is": "special", **told}
        return {
            "is": "file",
            **({"content": self.content(path, found, secret)} if "content" in aspects else {}),
            **told,
        }

    def users(self, names: list[str]) -> list[dict[str, Any]]:
        """Accounts of people and programs."""
        found = {row[0]: row for row in self.lines("passwd") if len(row) > 6}
        shadow = {row[0]: row[1] for row in self.lines("shadow")}
        groups = self.lines("group")
        told = []
        for name in names:
            row = found.get(name)
            if row is None:
                told.append(ABSENT)
                continue
            member = ",".join(sorted(each[0] for each in groups if name in each[3].split(",")))
            keys = ("uid", "gid", "title", "home", "shell")
            secret = self.digest(shadow.get(name, "").encode(), secret=True)
            housed = "yes" if os.path.exists(self.at(row[5])) else "no"
            more = {"housed": housed, "groups": member, "password": secret}
            told.append({"is": "user", **dict(zip(keys, row[2:7])), **more})  # noqa: B905
        return told

    def groups(self, names: list[str]) -> list[dict[str, Any]]:
        """Groups of accounts."""
        found = {row[0]: row for row in self.lines("group")}
        return [
            {"is": "group", "gid": row[2], "members": ",".join(sorted(filter(None, row[3].split(","))))}
            if (row := found.get(name))
            else ABSENT
            for name in names
        ]

    def units(self, names: list[str]) -> list[dict[str, Any]]:
        """Units of systemd; the names must be valid, and none a template."""
        properties = "--property=LoadState,ActiveState,UnitFileState"
        blocks = [
            block for block in said(["systemctl", "show", properties, "--", *names]).split("\n\n") if block.strip()
        ]
        if len(blocks) != len(names):
            raise SystemExit(f"systemctl told of {len(blocks)} units instead of {len(names)}")
        told = []
        for block in blocks:
            found = dict(line.split("=", 1) for line in block.strip().splitlines())
            running = "yes" if found["ActiveState"] in RUNNING else "no"
            there = found["LoadState"] != "not-found"
            told.append({"is": "unit" if there else "absent", "enabled": found["UnitFileState"], "running": running})
        return told

    def packages(self, names: list[str]) -> list[dict[str, Any]]:
        """Packages; ``*`` stands for all of them together."""
        shape = "--showformat=${Package}\t${Version}\t${db:Status-Abbrev}\n"
        rows = [line.split("\t") for line in said(["dpkg-query", "--show", shape], statuses=(0, 1)).splitlines()]
        found = {row[0]: row[1] for row in rows if row[2].startswith("ii")}
        all_of_them = self.digest("\n".join(sorted(map("=".join, found.items()))).encode())
        return [
            {"is": "package", "version": all_of_them if name == "*" else found[name]}
            if name == "*" or name in found
            else ABSENT
            for name in names
        ]

    def mounts(self, names: list[str]) -> list[dict[str, Any]]:
        """What is mounted at these places."""
        found = {}
        with open(self.at("/proc/self/mountinfo"), errors=ESCAPED) as file:
            for line in file:
                left, _, right = line.partition(" - ")
                words = left.split()
                where = words[4].replace("\\040", " ")
                found[where] = {"is": "mount", "type": right.split()[0], "root": words[3], "options": words[5]}
        return [found.get(name, ABSENT) for name in names]

    def sysctls(self, names: list[str]) -> list[dict[str, Any]]:
        """Settings of the kernel."""
        told = []
        for name in names:
            try:
                with open(self.at("/proc/sys/" + name.replace(".", "/")), errors=ESCAPED) as file:
                    told.append({"is": "sysctl", "value": " ".join(file.read().split())})
            except OSError:
                told.append(ABSENT)
        return told

    def rulesets(self, names: list[str]) -> list[dict[str, Any]]:
        """The live rules of the packet filter, without their counters: all but those in tables of others."""
        text = own_rules(said(["/usr/sbin/nft", "--stateless", "list", "ruleset"]), others(self.root))
        return [{"is": "ruleset", "content": self.digest(text.encode())} for _ in names]


PATHS = ("file", "folder", "link", "absent")
MANY = {
    "group": Probe.groups,
    "mount": Probe.mounts,
    "package": Probe.packages,
    "ruleset": Probe.rulesets,
    "sysctl": Probe.sysctls,
    "unit": Probe.units,
    "user": Probe.users,
}


def shown(name: str) -> str:
    """A name as it is told: with the bytes in hexadecimal that are no UTF-8, and of what no terminal would print."""
    if name.isprintable():
        return name
    parts = [c if c.isprintable() else "".join(f"\\x{b:02x}" for b in c.encode(errors="surrogateescape")) for c in name]
    return "".join(parts)


def lying(path: str) -> str:
    """The path as it really is of what was told as this."""
    folder, name = os.path.split(path)
    if "\\x" not in name or os.path.lexists(path):
        return path
    return next((os.path.join(folder, each) for each in os.listdir(folder) if shown(each) == name), path)


def said(argv: list[str], statuses: tuple[int, ...] = (0,)) -> str:
    """What a program printed; without the weight of ``subprocess``."""
    reading, writing = os.pipe()
    actions = [
        (os.POSIX_SPAWN_DUP2, writing, 1),
        (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_CLOSE, reading),
    ]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    child = os.posix_spawnp(argv[0], argv, environment, file_actions=actions)
    os.close(writing)
    with open(reading, "rb") as file:
        told = file.read().decode(errors="replace")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in statuses:
        raise SystemExit(f"{argv[0]} ended with status {status}")
    return told


def others(root: str = "") -> set[str]:
    """Names of tables of the packet filter that a program of the host fills, as the files of our own rules say."""
    found: set[str] = set()
    folder = root + RULES_FOLDER
    for entry in filter(os.DirEntry.is_file, os.scandir(folder) if os.path.isdir(folder) else ()):
        with open(entry.path, errors="replace") as file:
            found.update(line.removeprefix(OTHERS).strip() for line in file if line.startswith(OTHERS))
    return found


def own_rules(ruleset: str, strange: set[str]) -> str:
    """A ruleset as nft lists it, without these tables."""
    table, kept = "", ""
    for line in ruleset.splitlines(keepends=True):
        if line.startswith("table "):
            table = line.split()[2]
        kept += "" if table in strange else line
    return kept


def load_rules() -> None:
    """Load our rules anew in place of all that are there, in one transaction; tables of others stay."""
    strange = others()
    flush = "flush ruleset"
    if strange:
        tables = said(["/usr/sbin/nft", "list", "tables"], statuses=ANY).splitlines()
        flush = "; ".join(f"delete {table}" for table in tables if table.split()[-1] not in strange)
    said(["/usr/sbin/nft", f'{flush}; include "/etc/nftables.conf"'], statuses=ANY)


def read(probe: Probe, subjects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is there now, for each subject."""
    found: list[dict[str, Any]] = [{} for _ in subjects]
    of_kind: dict[str, list[int]] = {}
    for number, each in enumerate(subjects):
        if each["kind"] in PATHS:
            found[number] = probe.path(each["name"], each["aspects"], each.get("secret", False))
        elif each["kind"] in MANY:
            of_kind.setdefault(each["kind"], []).append(number)
        else:
            raise SystemExit(f"no such kind: {each['kind']}")
    for kind, numbers in of_kind.items():
        told = MANY[kind](probe, [subjects[number]["name"] for number in numbers])
        for number, values in zip(numbers, told):  # noqa: B905
            found[number] = values
    return found


def compare(subject: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """What is not as expected; of a folder that is owned whole also the names that may not lie in it."""
    told = {key: found.get(key, "") for key, value in subject["values"].items() if found.get(key, "") != value}
    if subject.get("allowed") is not None:
        strange = [name for name in found.get("entries", ()) if name not in subject["allowed"]]
        told.update({"entries": strange} if strange else {})
    return told


def fence(call: dict[str, Any]) -> str:
    """Why this writer is turned away: a later one was here before; else empty, and the host remembers this one."""
    path, token = call.get("root", "") + call["fence"], call["fencing_token"]
    try:
        with open(path) as file:
            known = int(file.read())
    except OSError:
        known = 0
    if token < known:
        return f"fencing token {token} is older than {known}, which was here before"
    if token > known:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        draft = f"{path}.{os.getpid()}"
        with open(draft, "w") as file:
            file.write(str(token))
        os.replace(draft, path)
    return ""


def sweep(call: dict[str, Any]) -> list[str]:
    """Stop and disable units, put paths aside where root still finds them, and remove folders that are empty then."""
    told, root, aside = [], call.get("root", ""), call["aside"]
    units = call.get("units", ())
    for unit in units:  # one by one: a name that systemd does not know must not keep the others
        said(["systemctl", "disable", "--now", "--", unit], statuses=ANY)
        told.append(unit)
    for number, path in enumerate(call["paths"]):
        os.makedirs(root + aside, mode=0o700, exist_ok=True)
        try:
            found = lying(root + path)
            name = os.fsdecode(os.fsencode(os.path.basename(found))[:NAME_BYTES])
            os.rename(found, f"{root}{aside}/{time.time_ns()}-{number}-{name}")
        except OSError:  # it is gone, or lies where it cannot be moved: whoever asks looks again
            continue
        told.append(path)
    for path in sorted(call.get("folders", ()), reverse=True):
        try:
            os.rmdir(root + path)
        except OSError:
            continue
        told.append(path)
    if units or call.get("reload") or any("/systemd/" in path for path in told):
        said(["systemctl", "daemon-reload"], statuses=ANY)
    for unit, state in call.get("told", {}).items():
        try:
            said(["systemctl", "try-restart" if state == "restarted" else "try-reload-or-restart", "--", unit])
        except (
            SystemExit
        ):  # without what went it is nobody's and no failure; a role that stays misses it at the next look
            said(["systemctl", "reset-failed", "--", unit], statuses=ANY)
    if call.get("rules"):  # in one transaction: files that do not load leave the old rules
        load_rules()
    return told


def main(call: dict[str, Any]) -> dict[str, Any]:
    """``record``: values of every subject; ``check``: what differs, by number; ``sweep``: what went."""
    if call["mode"] == "sweep":
        refused = fence(call)
        return {"error": refused, "cure": LATER} if refused else {"swept": sweep(call)}
    probe = Probe(call)
    subjects = call["subjects"]
    if call["mode"] == "record":
        answer: dict[str, Any] = {"values": read(probe, subjects)}
    else:
        wanted = [
            {**each, "aspects": [*each["values"], *([] if each.get("allowed") is None else ["entries"])]}
            for each in subjects
        ]
        found = read(probe, wanted)
        told = [compare(each, values) for each, values in zip(subjects, found)]  # noqa: B905
        answer = {"differences": [[number, each] for number, each in enumerate(told) if each]}
    probe.keep()
    return answer
