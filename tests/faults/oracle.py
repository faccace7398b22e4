"""Judges what is there after a kill and the run that came after it: files, and tables by plain SQL.

It shares no code with Pachon, and no type: it reads what machines, hosts, the boot service and controllers have.
"""

import json
import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CARRIES: Mapping[str, Mapping[str, str]] = {
    "made": {f"FILED000{number}": f"filed-0{number}" for number in range(1, 6)},
    "changed": {
        "FILED0001": "filed-01",
        "FILED0002": "filed-02",
        "FILED0003": "filed-03",
        "FILED0006": "filed-05",
        "FILED0007": "filed-07",
    },
    "fewer": {"FILED0001": "filed-01", "FILED0002": "filed-02", "FILED0003": "filed-03", "FILED0006": "filed-05"},
}
"""Which machine is to carry which host in the end, by definition."""
IMAGED: Mapping[str, Mapping[str, int]] = {
    "made": {f"FILED000{number}": 1 for number in range(1, 6)},
    "changed": {**{f"FILED000{number}": 1 for number in range(1, 8)}, "FILED0003": 2},
    "fewer": dict.fromkeys(("FILED0001", "FILED0002", "FILED0003", "FILED0006"), 1),
}
"""How often a disk was written by then, where the next run has the same definition."""
OTHERWISE = frozenset({"undo", "drop"})
"""Scenes in which it has another one: a disk may be written once more each time that its host was taken off it."""
MAY_STOP = {
    "undo": frozenset(f"FILED000{number}" for number in range(3, 8)),
    "drop": frozenset({"FILED0004", "FILED0005"}),
}
MAY_STOP_ELSE = frozenset({"FILED0003", "FILED0004", "FILED0005"})
"""Machines that lose their host, by scene: no other one is ever to be switched off."""
FREE = frozenset({"enrolled", "inspected", "available"})
"""States of machines that carry nothing."""
SIZES = {"made": 1 << 30, "changed": 2 << 30, "fewer": 1 << 30}
ROLES = ("base", "people")
MORE_ROLES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "made": {"filed-02": ("log_host",)},
    "changed": {},
    "fewer": {},
}
"""What single hosts have besides, by definition: the others take it away, with all that it left."""
DATA = "3 entries"
"""What lies in the volume from the making on."""


@dataclass(frozen=True)
class Seen:
    """All that is there, as plain values."""

    machines: Mapping[str, Mapping[str, Any]]
    hosts: Mapping[str, Mapping[str, Any]]
    plays: Mapping[str, Mapping[str, Any]]
    controllers: Mapping[str, Mapping[str, Any]]
    engine: Mapping[str, Mapping[str, str]]
    """Of each stack, generation by address in the engine's state."""
    receipts: Mapping[str, str]
    last: Mapping[str, tuple[str, str, str]]
    """Verb, generation and outcome of the last step of each address."""
    unended: tuple[str, ...]
    """Steps of which nobody ever said how they ended."""
    lives: Mapping[str, tuple[str, str, str]]
    """Of each machine: state, address, generation."""
    open_leases: tuple[str, ...]
    tokens: tuple[int, ...]
    """Of the runs, in their order."""
    open_runs: tuple[str, ...]
    stopped: tuple[str, ...]


def read(top: Path) -> Seen:
    """What lies below that folder."""
    world = top / "world"
    stacks = sorted((top / "state" / "pulumi" / ".pulumi" / "stacks").glob("*/*.json"))
    store = sqlite3.connect(f"file:{top / 'state' / 'store.db'}?mode=ro", uri=True)
    try:
        receipts = dict(store.execute("SELECT address, inputs_digest FROM receipts"))
        steps = store.execute("SELECT address, verb, generation, outcome FROM steps ORDER BY id").fetchall()
        lives = store.execute("SELECT serial, state, address, generation FROM machines").fetchall()
        leases = store.execute("SELECT run_id FROM leases WHERE released_at IS NULL").fetchall()
        tokens = store.execute("SELECT fencing_token FROM runs ORDER BY rowid").fetchall()
        unended = store.execute("SELECT id FROM runs WHERE ended_at IS NULL").fetchall()
    finally:
        store.close()
    ledger = world / "ledger"
    return Seen(
        machines=_documents(world / "machines"),
        hosts=_documents(world / "hosts"),
        plays=_documents(world / "plays"),
        controllers=_documents(world / "controllers"),
        engine={path.parent.name: _generations(path) for path in stacks},
        receipts=receipts,
        last={address: (verb, generation, outcome or "begun") for address, verb, generation, outcome in steps},
        unended=tuple(f"{verb} of {address}" for address, verb, _, outcome in steps if outcome is None),
        lives={serial: (state, address, generation) for serial, state, address, generation in lives},
        open_leases=tuple(run for (run,) in leases),
        tokens=tuple(token for (token,) in tokens),
        open_runs=tuple(run for (run,) in unended),
        stopped=tuple(
            line.split()[1] for line in (ledger.read_text().splitlines() if ledger.exists() else ()) if "stop" in line
        ),
    )


def _documents(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def _generations(path: Path) -> dict[str, str]:
    return {address: entry["inputs"]["generation"] for address, entry in json.loads(path.read_text()).items()}


def judge(seen: Seen, like: Seen, scene: str, definition: str) -> list[str]:
    """What is wrong, each in words; ``like`` is what a run that nobody killed left of the same definition."""
    return [
        *_machines(seen, like, scene, definition),
        *_hosts(seen, like, definition),
        *_roles(seen, like, definition),
        *_records(seen, like),
    ]


def judge_plainly(seen: Seen, carries: Mapping[str, str], *, imaged: Mapping[str, int]) -> list[str]:
    """The same without anything to compare with: what must hold of any facility whose hosts are on those machines.

    ``imaged``: how often the disk of each was to be written so far.
    """
    wrong = []
    for serial, machine in seen.machines.items():
        host, (tag, stamp) = carries.get(serial), (str(machine["asset_tag"]), str(machine["stamp"]))
        if host is None and (machine["on"], tag, machine["deploy"]) != (False, "", None):
            wrong.append(f"orphaned: {serial} is to carry nothing, and is {machine}")
        if host is not None and (machine["on"], tag.partition("@")[0], tag) != (True, f"here/host/{host}", stamp):
            wrong.append(f"lost: {serial} is to carry {host}, and is {machine}")
        if host is not None and seen.lives.get(serial, ("", "", ""))[:2] != ("active", f"here/host/{host}"):
            wrong.append(f"the life of {serial} is {seen.lives.get(serial)}")
        installed = f"{serial}/{machine['images_written']}"
        played = seen.plays.get(host or "", {})
        roles = played.get("roles", {}) if played.get("installation") == installed else {}
        if host is not None and any(len(set(roles.get(role, {}).values())) != 1 for role in ROLES):
            wrong.append(f"lost: {host} on {installed} has {played} of its roles")
        if machine["images_written"] > imaged.get(serial, 0):
            wrong.append(f"doubled: the disk of {serial} was written {machine['images_written']} times")
    wrong += [
        f"the journal's last word of {address} is {verb} {outcome}"
        for address, (verb, _, outcome) in seen.last.items()
        if outcome != "done"
    ]
    return wrong + _open(seen)


def _machines(seen: Seen, like: Seen, scene: str, definition: str) -> list[str]:
    wrong = []
    for serial, machine in seen.machines.items():
        host = CARRIES[definition].get(serial)
        tag = str(like.machines[serial]["asset_tag"])
        found = (machine["on"], machine["asset_tag"])
        if host is None:
            if found != (False, "") or machine["deploy"] is not None:
                wrong.append(f"orphaned: {serial} is to carry nothing, and is {found}, deploy {machine['deploy']}")
        elif tag.partition("@")[0] != f"here/host/{host}":
            wrong.append(f"the oracle is wrong: {serial} is to carry {host}, and {tag} is there without a kill")
        elif found != (True, tag) or machine["stamp"] != tag:
            wrong.append(f"lost: {serial} is to carry {tag}, and is {found} with {machine['stamp'] or 'no stamp'}")
        elif machine["addresses"] != (addresses := like.machines[serial]["addresses"]):
            wrong.append(f"lost: {host} has addresses {machine['addresses']}, not {addresses}")
        written, times = machine["images_written"], IMAGED[definition].get(serial, 0)
        if scene in OTHERWISE and written <= 1 + seen.stopped.count(serial):
            continue
        if written != times:
            wrong.append(f"doubled: the disk of {serial} was written {written} times, not {times}")
    may_stop = MAY_STOP.get(scene, MAY_STOP_ELSE)
    return wrong + [f"lost: {serial} was switched off" for serial in seen.stopped if serial not in may_stop]


def _hosts(seen: Seen, like: Seen, definition: str) -> list[str]:
    wrong = []
    for name, host in like.hosts.items():
        found = seen.hosts.get(name, {})
        for what in ("segments", "volumes"):
            if _without_data(found.get(what)) != _without_data(host[what]):
                wrong.append(f"{name} has {what} {found.get(what)}, not {host[what]}")
    wrong += [
        f"orphaned: {name} has {host}"
        for name, host in seen.hosts.items()
        if name not in like.hosts and (host["segments"] or host["volumes"])
    ]
    (volume,) = seen.hosts["filed-02"]["volumes"].values()
    if volume["size_bytes"] != SIZES[definition] or not volume["mounted"]:
        wrong.append(f"lost: the volume is {volume}")
    if definition == "changed" and volume["data"] != DATA:
        wrong.append("lost: what lay in the volume")
    return wrong


def _without_data(told: Any) -> Any:
    """What lies in volumes is no doing of runs, and judged by itself."""
    if not isinstance(told, dict):
        return told
    return {name: {key: value for key, value in each.items() if key != "data"} for name, each in told.items()}


def _roles(seen: Seen, like: Seen, definition: str) -> list[str]:
    wrong = []
    for serial, name in CARRIES[definition].items():
        found = seen.plays.get(name, {})
        installed = f"{serial}/{seen.machines[serial]['images_written']}"
        if found.get("installation") != installed:
            wrong.append(f"lost: {name} was never played on {installed}")
            continue
        roles = (*ROLES, *MORE_ROLES[definition].get(name, ()))
        wrong += [
            f"orphaned: {name} has {found['roles'][role]} of role {role}" for role in found["roles"].keys() - roles
        ]
        for role in roles:
            has, wanted = found["roles"].get(role, {}), like.plays[name]["roles"][role]
            if has != wanted or len(set(has.values())) != 1 or set(has) != {"file", "unit", "loaded"}:
                wrong.append(f"lost: {name} has {has} of role {role}, not {wanted}")
    if seen.controllers != like.controllers:
        wrong.append(f"lost: the controllers have {seen.controllers}, not {like.controllers}")
    return wrong


def _records(seen: Seen, like: Seen) -> list[str]:
    wrong = []
    made_anew = {
        str(machine["asset_tag"]).partition("@")[0]
        for serial, machine in seen.machines.items()
        if machine["images_written"] != like.machines[serial]["images_written"]
    }
    lives = {serial: life for serial, life in seen.lives.items() if serial in like.lives or life[0] not in FREE}
    compared: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [
        ("engine", seen.engine, like.engine),
        ("receipts", _receipts(seen, made_anew), _receipts(like, made_anew)),
        ("lives", lives, like.lives),
    ]
    for what, found, wanted in compared:
        if found != wanted:
            keys = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
            told = [f"{key}: {found.get(key)}, not {wanted.get(key)}" for key in keys]
            wrong.append(f"{what} are not as without a kill: {'; '.join(told)}")
    gone = {address for address, step in like.last.items() if step[0] == "delete"}
    for address, (verb, generation, outcome) in seen.last.items():
        wanted_verb, wanted_generation, _ = like.last.get(address, ("delete", generation, ""))
        is_gone = address in gone or address not in like.last
        if outcome != "done" or (verb == "delete") != is_gone or generation != wanted_generation:
            wrong.append(f"the journal's last word of {address} is {verb} {generation} {outcome}, not {wanted_verb}")
    wrong += [f"lost: the journal knows nothing of {address}" for address in like.last if address not in seen.last]
    wrong += _open(seen)
    if list(seen.tokens) != sorted(set(seen.tokens)):
        wrong.append(f"tokens of runs do not grow: {seen.tokens}")
    return wrong


def _receipts(seen: Seen, made_anew: Collection[str]) -> dict[str, str]:
    """Receipts by address; those of roles of hosts that were made anew are of another installation."""
    return {
        address: digest if address.partition("/role/")[0] not in made_anew else "of another installation"
        for address, digest in seen.receipts.items()
    }


def _open(seen: Seen) -> list[str]:
    wrong = [f"the journal never says how a step ended: {step}" for step in seen.unended]
    wrong += [f"lease of run {run} was never given back" for run in seen.open_leases]
    return wrong + [f"run {run} was never ended" for run in seen.open_runs]
