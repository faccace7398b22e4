"""What a twin host answers to the programs that are sent to real ones. Pure: (disk, machine, call) to (disk, answer).

The program's text is not run. Which one it is shows in its call; refusals read as those of the real programs
(``infra/provider/programs``).
"""

from typing import Any

from infra.lab.twin import subjects
from infra.lab.twin.disk import Disk
from infra.lab.twin.subjects import NO_DRIFT, Drift
from pachon.model.facility import Machine

Call = dict[str, Any]
Answer = dict[str, Any]
NO_SEGMENT = {"stamp": "", "ports": [], "up": False}
NO_VOLUME = {"stamp": "", "mounted": False}


class NotKnownError(Exception):
    """The twin has no answer to this call."""


def answer(disk: Disk, machine: Machine, call: Call, drift: Drift = NO_DRIFT) -> tuple[Disk, Answer]:
    """The disk after the call (the same object where it is as it was), and what the program says.

    Raises:
        NotKnownError: no program of ours has such a call.
    """
    token = int(call.get("fencing_token") or 0)
    if call.get("verb") != "read" and token:
        if token < disk.fencing_token:
            message = f"fencing token {token} is older than {disk.fencing_token}, which was here before"
            return disk, _refusal(message, "nothing to do: the later run carries on")
        disk = disk.model_copy(update={"fencing_token": token})
    if "mode" in call:
        return disk, subjects.answer(disk.host, call, drift)
    if "bridge" in call:
        return _segment(disk, machine, call)
    if "volume" in call:
        return _volume(disk, machine, call)
    if "nics" in call:
        return _addresses(disk, call)
    if set(call) <= {"verb", "site", "fencing_token"}:
        return disk, {"stamp": disk.stamp, "signature": disk.stamp_signature}
    raise NotKnownError(", ".join(sorted(call)))


def _refusal(error: str, cure: str) -> Answer:
    return {"error": error, "cure": cure}


def _segment(disk: Disk, machine: Machine, call: Call) -> tuple[Disk, Answer]:
    bridge, stands = str(call["bridge"]), disk.segments.get(str(call["bridge"]))
    match call["verb"]:
        case "read":
            return disk, dict(stands or NO_SEGMENT)
        case "remove" if stands and stands["stamp"] == call["stamp"]:
            left = {name: segment for name, segment in disk.segments.items() if name != bridge}
            return disk.model_copy(update={"segments": left}), dict(NO_SEGMENT)
        case "remove":
            return disk, dict(stands or NO_SEGMENT)
        case "apply":
            have = sorted(nic.name for nic in machine.nics if nic.name.startswith("swp"))
            missing = [port for port in call["ports"] if port not in {nic.name for nic in machine.nics}]
            if missing:
                message = f"it has no port {', '.join(missing)} (it has {', '.join(have) or 'none'})"
                return disk, _refusal(message, "correct the cables table")
            if stands and stands["stamp"] != call["stamp"]:
                return disk, _refusal(f"{bridge} carries {stands['stamp']}", "remove that network first")
            made = {"stamp": call["stamp"], "ports": sorted(call["ports"]), "up": True}
            return disk.model_copy(update={"segments": {**disk.segments, bridge: made}}), dict(made)
        case verb:
            raise NotKnownError(f"segments {verb}")


def _volume(disk: Disk, machine: Machine, call: Call) -> tuple[Disk, Answer]:
    key = f"{call['pool']}/{call['volume']}"
    stands = disk.volumes.get(key)
    serials = {each.serial for each in machine.disks}
    for each in call["disks"]:
        if each["serial"] not in serials:
            message = f"it has no disk with serial {each['serial']} ({each['name']})"
            return disk, _refusal(message, "correct the hardware tables, or replace the disk")
    match call["verb"]:
        case "read":
            return disk, dict(stands or NO_VOLUME)
        case "remove" if stands and stands["stamp"] == call["stamp"]:
            left = {name: volume for name, volume in disk.volumes.items() if name != key}
            return disk.model_copy(update={"volumes": left}), {"stamp": ""}
        case "remove":
            return disk, {"stamp": ""}
        case "apply":
            if stands and stands["stamp"] != call["stamp"]:
                return disk, _refusal(f"{call['volume']} carries {stands['stamp']}", "remove that volume first")
            made = {"stamp": call["stamp"], "size_bytes": int(call["size_bytes"]), "mounted": True}
            return disk.model_copy(update={"volumes": {**disk.volumes, key: made}}), dict(made)
        case verb:
            raise NotKnownError(f"volumes {verb}")


def _addresses(disk: Disk, call: Call) -> tuple[Disk, Answer]:
    now = disk.nics or {nic["name"]: nic for nic in disk.address_on.values()}
    changed, nics = [], dict(now)
    for nic in call["nics"]:
        keys = ("address", "prefix", "also", "gateway", "reply_gateway")
        new = {"name": nic["name"], **{key: nic.get(key) for key in keys}}
        old = {"name": nic["name"], **{key: now.get(nic["name"], {}).get(key) for key in keys}}
        if new != old:
            changed.append(nic["name"])
        nics[nic["name"]] = new
    return disk.model_copy(update={"nics": nics}), {"changed": changed}
