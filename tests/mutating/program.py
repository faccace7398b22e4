"""Runs on a host as root: mutates what roles left there, for real and one thing each, and takes it back.

Sent over SSH (``tests.mutating.carrying``); needs nothing but the standard library. Each mutation keeps what it needs
to be taken back in a folder of its own, so that another process can do it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from typing import Any

KEPT = "/var/lib/t-mutations"
RULES = f"{KEPT}/rules"
"""Of the packet filter, as they were: a unit that stops takes them along."""
ACCOUNTS = ("passwd", "shadow", "group", "gshadow")
FIELDS = {"title": 4, "home": 5, "shell": 6, "uid": 2}
DISPENSABLE = ("bash-completion", "less", "nano", "tzdata", "vim-common", "vim-tiny", "whiptail", "xxd")
"""Packages on which nothing hangs that these tests use."""
MARK = "# mutated\n"
STRANGER = "t-stranger"
STARTING_SECONDS = 60.0


class Mutation:
    """One of them, with the folder in which it keeps what was there before."""

    def __init__(self, call: dict[str, Any]) -> None:
        self.name: str = call["name"]
        self.how: str = call["how"]
        self.chance = random.Random(call["seed"])
        self.folder = f"{KEPT}/{call['number']}"
        self.saved = f"{self.folder}/saved"

    def note(self, **facts: Any) -> None:
        """Write down what was there."""
        with open(f"{self.folder}/note.json", "w") as file:
            json.dump(facts, file)

    def noted(self) -> dict[str, Any]:
        """What was there."""
        with open(f"{self.folder}/note.json") as file:
            facts: dict[str, Any] = json.load(file)
        return facts


def run(*argv: str, stdin: str = "") -> str:
    """What a program printed."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(argv)}: status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def keep(each: Mutation) -> os.stat_result:
    """Save a file or a link with all that belongs to it."""
    found = os.lstat(each.name)
    shutil.copy2(each.name, each.saved, follow_symlinks=False)
    os.chown(each.saved, found.st_uid, found.st_gid, follow_symlinks=False)
    return found


def clear(path: str) -> None:
    """Remove whatever is there."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


def put_back(each: Mutation) -> None:
    """The saved file, link or folder in place of what is there now."""
    clear(each.name)
    shutil.move(each.saved, each.name)


def write(each: Mutation) -> None:
    """Other content, in one of the ways in which it comes about."""
    found = keep(each)
    if each.how == "append":
        with open(each.name, "a") as file:
            file.write(MARK)
    elif each.how == "empty":
        if not found.st_size:
            raise OSError("it is empty")
        os.truncate(each.name, 0)
    elif each.how == "swap":
        with open(each.name, "r+b") as file:
            first = file.read(1)
            if not first:
                raise OSError("it is empty")
            file.seek(0)
            file.write(bytes([first[0] ^ 1]))
        os.utime(each.name, ns=(found.st_atime_ns, found.st_mtime_ns))
    elif each.how == "touch":
        os.utime(each.name)
    else:  # rewrite: another file with the same of everything
        draft = f"{each.name}.t-draft"
        shutil.copy2(each.name, draft)
        os.chown(draft, found.st_uid, found.st_gid)
        os.replace(draft, each.name)


def replace(each: Mutation) -> None:
    """Something else in its place, or nothing."""
    os.lstat(each.name)
    if os.path.isdir(each.name) and not os.path.islink(each.name):
        os.rename(each.name, each.saved)
    else:
        keep(each)
        os.remove(each.name)
    if each.how == "link":
        os.symlink(each.saved, each.name)
    elif each.how == "retarget":
        os.symlink("/etc/hostname", each.name)
    elif each.how == "folder":
        os.mkdir(each.name)
    elif each.how == "file":
        with open(each.name, "w") as file:
            file.write(MARK)


def place(each: Mutation) -> None:
    """Another mode, owner or group."""
    found = os.lstat(each.name)
    mode = stat.S_IMODE(found.st_mode)
    each.note(mode=mode, uid=found.st_uid, gid=found.st_gid)
    if each.how == "chmod":
        os.chmod(each.name, mode ^ each.chance.choice((0o020, 0o002, 0o040, 0o1000, 0o4000, 0o066)))
    elif each.how == "narrow":
        narrowed = mode & ~0o222
        os.chmod(each.name, narrowed if narrowed != mode else mode ^ 0o040)
    elif each.how == "chown":
        os.lchown(each.name, each.chance.choice((1, 2, 65534)), -1)
    else:
        os.lchown(each.name, -1, each.chance.choice((1, 2, 65534)))


def place_back(each: Mutation) -> None:
    """As it was."""
    facts = each.noted()
    os.lchown(each.name, facts["uid"], facts["gid"])
    os.chmod(each.name, facts["mode"])


def appear(each: Mutation) -> None:
    """A file where there is to be none."""
    if os.path.lexists(each.name):
        raise OSError("something is there")
    with open(each.name, "w") as file:
        file.write(MARK)


def appear_back(each: Mutation) -> None:
    """Nothing is there."""
    clear(each.name)


def stranger(each: Mutation) -> None:
    """A file or folder beside what roles put there."""
    path = f"{each.name}/{STRANGER}"
    if each.chance.random() < 0.3:
        os.mkdir(path)
    else:
        with open(path, "w") as file:
            file.write(MARK)


def stranger_back(each: Mutation) -> None:
    """It is gone."""
    clear(f"{each.name}/{STRANGER}")


def cover(each: Mutation) -> None:
    """A mount over it: an empty file system over a folder, another file over a file."""
    if os.path.isdir(each.name):
        run("mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "t-mutation", each.name)
        return
    os.lstat(each.name)
    with open(each.saved, "w") as file:
        file.write(MARK)
    run("mount", "--bind", each.saved, each.name)


def cover_back(each: Mutation) -> None:
    """What was under it is there again."""
    run("umount", each.name)


def remount(each: Mutation) -> None:
    """Mounted with another option."""
    each.note(options=run("findmnt", "-nro", "OPTIONS", each.name).strip())
    run("mount", "-o", "remount,bind,noexec", each.name)


def remount_back(each: Mutation) -> None:
    """With the options that it had."""
    run("mount", "-o", f"remount,bind,{'' if 'noexec' in each.noted()['options'].split(',') else 'exec'}", each.name)


def unit(each: Mutation) -> None:
    """In another state."""
    if each.how == "mask" and os.path.lexists(f"/etc/systemd/system/{each.name}"):
        raise OSError("its file lies where masking would put a link")
    run("systemctl", each.how, each.name)


BACK = {"start": "stop", "stop": "start", "enable": "disable", "disable": "enable", "mask": "unmask"}


def unit_back(each: Mutation) -> None:
    """In the state that it had."""
    if each.how == "stop":
        subprocess.run(["systemctl", "reset-failed", each.name], capture_output=True, check=False)
    run("systemctl", *(["--no-block"] if each.how == "stop" else []), BACK[each.how], each.name)


def account(each: Mutation) -> None:
    """An account file with another line for it."""
    for name in ACCOUNTS:
        shutil.copy2(f"/etc/{name}", f"{each.folder}/{name}")
    if each.how == "member":
        run("gpasswd", "--add", each.name, "games")
    elif each.how == "members":
        run("gpasswd", "--add", "games", each.name)
    elif each.how == "password":
        run("usermod", "--password", "$6$t$mutated", each.name)
    elif each.how == "gone":
        for name in ACCOUNTS:
            edit(name, each.name, lambda row: None)
    elif each.how == "gid":
        edit("group", each.name, lambda row: [*row[:2], str(int(row[2]) + 7000), *row[3:]])
    else:
        number = FIELDS[each.how]
        other = {"title": "Mutated", "home": "/nonexistent", "shell": "/bin/false"}.get(each.how)

        def changed(row: list[str]) -> list[str] | None:
            return [*row[:number], other or str(int(row[number]) + 7000), *row[number + 1 :]]

        edit("passwd", each.name, changed)


def edit(file: str, account_name: str, change: Callable[[list[str]], list[str] | None]) -> None:
    """Change the line of an account in one of the files."""
    with open(f"/etc/{file}") as reading:
        rows = [line.rstrip("\n").split(":") for line in reading]
    told = [change(row) if row[0] == account_name else row for row in rows]
    with open(f"/etc/{file}", "w") as writing:
        writing.writelines(":".join(row) + "\n" for row in told if row is not None)


def account_back(each: Mutation) -> None:
    """All account files as they were."""
    for name in ACCOUNTS:
        shutil.copyfile(f"{each.folder}/{name}", f"/etc/{name}")


def homeless(each: Mutation) -> None:
    """An account's home is not there."""
    with open("/etc/passwd") as file:
        home = next(line.split(":")[5] for line in file if line.startswith(f"{each.name}:"))
    os.rename(home, each.saved)
    each.note(home=home)


def homeless_back(each: Mutation) -> None:
    """It is there again."""
    home = each.noted()["home"]
    clear(home)
    os.rename(each.saved, home)


def sysctl(each: Mutation) -> None:
    """Another value in the kernel."""
    path = "/proc/sys/" + each.name.replace(".", "/")
    with open(path) as file:
        value = file.read().strip()
    each.note(value=value)
    with open(path, "w") as file:
        file.write({"0": "1", "1": "0"}.get(value) or str(int(value) + 1))


def sysctl_back(each: Mutation) -> None:
    """The value that it had."""
    with open("/proc/sys/" + each.name.replace(".", "/"), "w") as file:
        file.write(each.noted()["value"])


def rules(each: Mutation) -> None:
    """Another rule, table or element in the live packet filter, or one less."""
    told = json.loads(run("nft", "--json", "list", "ruleset"))["nftables"]
    chains = [thing["chain"] for thing in told if "chain" in thing]
    if each.how == "table":
        run("nft", "-f", "-", stdin="table inet t_mutation {\n chain c {\n counter\n }\n}\n")
    elif each.how == "rule":
        chain = each.chance.choice(chains)
        run("nft", "insert", "rule", chain["family"], chain["table"], chain["name"], "tcp", "dport", "9", "accept")
    else:
        # Without a rule that lets something in nobody might be able to take this back.
        found = [thing["rule"] for thing in told if "rule" in thing and '"accept"' not in json.dumps(thing)]
        if not found:
            raise OSError("there is no rule that may go")
        rule = each.chance.choice(found)
        handle = str(rule["handle"])
        run("nft", "delete", "rule", rule["family"], rule["table"], rule["chain"], "handle", handle)


def rules_back(each: Mutation) -> None:
    """The rules that there were, in one transaction."""
    run("nft", "-f", RULES)


def package(each: Mutation) -> None:
    """A package more, or one less."""
    shutil.copy2("/var/lib/dpkg/status", f"{each.folder}/status")
    if each.how == "install":
        control = f"{each.folder}/tree/DEBIAN/control"
        os.makedirs(os.path.dirname(control))
        with open(control, "w") as file:
            file.write(
                "Package: t-mutation\nVersion: 1.0\nArchitecture: all\nMaintainer: Test <test@example.org>\n"
                "Description: changes a host\n"
            )
        run("dpkg-deb", "--build", "--root-owner-group", f"{each.folder}/tree", f"{each.folder}/t.deb")
        run("dpkg", "--install", f"{each.folder}/t.deb")
        return
    there = set(run("dpkg-query", "--show", "--showformat=${Package}\n").split())
    name = each.chance.choice(sorted(there.intersection(DISPENSABLE)) or ["none that may go"])
    listed = run("dpkg", "--listfiles", name).split("\n")
    paths = [path for path in listed if os.path.isfile(path) or os.path.islink(path)]
    records = [f"/var/lib/dpkg/info/{file}" for file in os.listdir("/var/lib/dpkg/info") if file.startswith(f"{name}.")]
    with open(f"{each.folder}/paths", "w") as file:
        file.write("\n".join(paths + records))
    run("tar", "--create", "--absolute-names", f"--file={each.saved}", f"--files-from={each.folder}/paths")
    run("dpkg", "--purge", "--force-depends", name)


def package_back(each: Mutation) -> None:
    """The packages that there were."""
    if each.how == "install":
        run("dpkg", "--purge", "t-mutation")
    else:
        run("tar", "--extract", "--absolute-names", f"--file={each.saved}")
        shutil.copy2(f"{each.folder}/status", "/var/lib/dpkg/status")


Way = Callable[[Mutation], None]
WAYS: dict[str, tuple[Way, Way]] = {
    **dict.fromkeys(("append", "empty", "rewrite", "swap", "touch"), (write, put_back)),
    **dict.fromkeys(("file", "folder", "link", "remove", "retarget"), (replace, put_back)),
    **dict.fromkeys(("chgrp", "chmod", "chown", "narrow"), (place, place_back)),
    **dict.fromkeys(("disable", "enable", "mask", "start", "stop"), (unit, unit_back)),
    **dict.fromkeys(("rule", "table", "unrule"), (rules, rules_back)),
    **dict.fromkeys(("install", "purge"), (package, package_back)),
    **dict.fromkeys((*FIELDS, "gid", "gone", "member", "members", "password"), (account, account_back)),
    "appear": (appear, appear_back),
    "cover": (cover, cover_back),
    "homeless": (homeless, homeless_back),
    "remount": (remount, remount_back),
    "set": (sysctl, sysctl_back),
    "stranger": (stranger, stranger_back),
}


def undo(mutations: list[Mutation], running: list[str]) -> dict[str, str]:
    """Take back what was done, the last first and units at the end; what went with it starts again.

    A unit that needs another one is taken back once that one is no longer masked, so units have a second turn.
    """
    told: dict[str, str] = {}
    for units, again in ((False, False), (True, False), (True, True)):
        for each in reversed(mutations):
            name = os.path.basename(each.folder)
            its_turn = (each.how in BACK) is units and (name in told or not again)
            if not its_turn or not os.path.exists(f"{each.folder}/done"):
                continue
            try:
                WAYS[each.how][1](each)
                told.pop(name, None)
            except (OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
                told[name] = f"not taken back: {error}"
        subprocess.run(["systemctl", "daemon-reload"], check=False)
    end = time.monotonic() + STARTING_SECONDS
    while stopped := [name for name in running if not is_active(name)]:
        if time.monotonic() > end:
            told["units"] = f"not started again: {', '.join(stopped)}"
            break
        subprocess.run(["systemctl", "reset-failed", *stopped], capture_output=True, check=False)
        subprocess.run(["systemctl", "--no-block", "start", *stopped], capture_output=True, check=False)
        time.sleep(0.5)
    run("nft", "-f", RULES)
    if not told:
        shutil.rmtree(KEPT)
    return told


def is_active(name: str) -> bool:
    """Whether the unit runs, or is on its way to."""
    said = subprocess.run(["systemctl", "is-active", name], capture_output=True, text=True, check=False).stdout
    return said.strip() in ("active", "activating", "reloading")


def main(call: dict[str, Any]) -> dict[str, Any]:
    """``do`` or ``undo``: by number, why a mutation could not be."""
    mutations = [Mutation(each) for each in call["mutations"]]
    if call["mode"] == "undo":
        return undo(mutations, call["running"])
    told = {}
    os.makedirs(KEPT, mode=0o700, exist_ok=True)
    with open(RULES, "w") as file:
        file.write("flush ruleset\n" + run("nft", "--stateless", "list", "ruleset"))
    for each in mutations:
        os.makedirs(each.folder, mode=0o700)
        try:
            WAYS[each.how][0](each)
        except (OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
            told[os.path.basename(each.folder)] = str(error)
            shutil.rmtree(each.folder)
            continue
        with open(f"{each.folder}/done", "w"):
            pass
    return told
