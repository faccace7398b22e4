"""A world in a folder: machines and hosts are JSON files, a deploy takes time and goes on when nobody looks.

For running the provider's logic under the real engine, many times and killed anywhere, where no rack or lab is.
Each file is replaced whole, so that a kill leaves the old or the new one. ``settings.json`` holds latencies in
seconds (``inspect``, ``deploy``, ``boot``, ``program``) and faults by serial.
"""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from infra.provider.world import Answering, DeploySeen, HostAt, MachineAt, MachineSeen, ProgramName, Tell
from pachon.errors import PermanentError, TemporaryError
from pachon.model.stamp import parse_stamp

Document = dict[str, Any]
POLL_SECONDS = 0.02


def seed_machine(folder: Path, serial: str, *, management_address: str, macs: list[str], disks: dict[str, int]) -> None:
    """Put a machine into the world, off and blank; ``disks`` gives the size in bytes by serial."""
    _write(
        folder / "machines" / f"{serial}.json",
        {
            "serial": serial,
            "management_address": management_address,
            "macs": macs,
            "disks": disks,
            "on": False,
            "asset_tag": "",
            "tls_sha256": serial.encode().hex().rjust(64, "0")[:64],
            "stamp": "",
            "addresses": {},
            "revoked": False,
            "deploy": None,
            "images_written": 0,
        },
    )
    _write(folder / "addresses" / f"{management_address}.json", {"serial": serial})


class FolderWorld:
    """Implements ``World`` on files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        settings = _read(folder / "settings.json") or {}
        self._latency: dict[str, float] = settings.get("latency", {})
        self._faults: dict[str, str] = settings.get("faults", {})

    async def inspect(self, machine: MachineAt) -> MachineSeen:  # noqa: D102
        await self._pause("inspect")
        if fault := self._faults.get(machine.serial):
            raise PermanentError(f"machine {machine.serial}: {fault}", cure="mend the machine")
        found = self._machine(machine.serial)
        return MachineSeen(
            serial=found["serial"],
            macs=tuple(found["macs"]),
            size_bytes_by_disk=dict(found["disks"]),
            on=found["on"],
            asset_tag=found["asset_tag"],
            tls_sha256=found["tls_sha256"],
        )

    async def glance(self, machine: MachineAt) -> MachineSeen:  # noqa: D102
        return await self.inspect(machine)

    async def set_asset_tag(self, machine: MachineAt, text: str) -> None:  # noqa: D102
        self._change(machine.serial, asset_tag=text)

    async def start(self, machine: MachineAt) -> None:  # noqa: D102
        self._change(machine.serial, on=True)

    async def stop(self, machine: MachineAt) -> None:  # noqa: D102
        self._change(machine.serial, on=False)

    async def deploy_of(self, machine: MachineAt) -> DeploySeen | None:  # noqa: D102
        deploy = self._machine(machine.serial)["deploy"]
        return None if deploy is None else DeploySeen(state=deploy["state"], generation=deploy["generation"])

    async def order(self, machine: MachineAt, host: Document) -> DeploySeen:  # noqa: D102
        known = await self.deploy_of(machine)
        if known is not None and known.generation == host["generation"] and known.state != "failed":
            return known
        deploy = {"state": "waiting", "generation": host["generation"], "address": host["address"], "booted_at": 0}
        deploy |= {"host": host["host"], "nics": host["nics"]}
        self._change(machine.serial, deploy=deploy)
        return DeploySeen(state="waiting", generation=host["generation"])

    async def boot_deploy(self, machine: MachineAt) -> None:  # noqa: D102
        found = self._machine(machine.serial)
        if hung := found.get("hanging_boots", 0):
            self._change(machine.serial, on=True, deploy={**found["deploy"], "state": "failed"}, hanging_boots=hung - 1)
            return
        deploy = {**found["deploy"], "state": "deploying", "booted_at": time.time()}
        self._change(machine.serial, on=True, stamp="", deploy=deploy, images_written=found["images_written"] + 1)

    async def until_deployed(self, machine: MachineAt, tell: Tell) -> None:  # noqa: D102
        while (deploy := self._machine(machine.serial)["deploy"]) is not None and deploy["state"] != "done":
            if deploy["state"] == "failed":
                raise TemporaryError(f"machine {machine.serial} never called back", cure="see its console")
            tell("writing the image", None)
            await asyncio.sleep(max(POLL_SECONDS, self._latency.get("deploy", 0.0) / 4))
        if deploy is None:
            raise PermanentError(f"machine {machine.serial}: its order was withdrawn", cure="run again")

    async def revoke(self, machine: MachineAt) -> None:  # noqa: D102
        self._change(machine.serial, deploy=None, revoked=True)

    async def stamp_on_disk(self, host: HostAt, *, within_seconds: float) -> Answering:  # noqa: D102
        named = _read(self._folder / "addresses" / f"{host.management_address}.json")
        deadline = time.monotonic() + within_seconds
        while named is not None:
            found = self._machine(named["serial"])
            booted_at = (found["deploy"] or {}).get("booted_at", 0) + self._latency.get("deploy", 0.0)
            up = time.time() >= booted_at + self._latency.get("boot", 0.0)
            if found["revoked"]:
                return Answering(None, "its key was revoked")
            if found["on"] and found["stamp"] and up:
                return Answering(parse_stamp(found["stamp"]))
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(POLL_SECONDS)
        return Answering(None, "no answer")

    async def run_program(self, host: HostAt, program: ProgramName, call: Document) -> Document:  # noqa: D102
        await self._pause("program")
        if not self._is_up(host.management_address):
            raise TemporaryError(f"no SSH answer from {host.management_address}", cure="see that it is powered on")
        path = self._folder / "hosts" / f"{host.name}.json"
        state = _read(path) or {"fencing_token": 0, "segments": {}, "volumes": {}}
        if call.get("verb") not in ("holds", "read"):
            if call["fencing_token"] < state["fencing_token"]:
                raise PermanentError(f"{host.name} was written to by a later run", cure="leave it to that run")
            state["fencing_token"] = call["fencing_token"]
        match program:
            case "segments":
                answer = _segments(state, call)
            case "volumes":
                answer = _volumes(state, call)
            case _:
                named = _read(self._folder / "addresses" / f"{host.management_address}.json") or {}
                self._change(named["serial"], addresses=_addresses(call["nics"]))
                answer = {}
        _write(path, state)
        return answer

    def _is_up(self, address: str) -> bool:
        """Whether the host that was once written to that machine runs; of one that never was, nobody asks."""
        named = _read(self._folder / "addresses" / f"{address}.json")
        found = None if named is None else self._machine(named["serial"])
        return found is None or not found["images_written"] or bool(found["on"] and found["stamp"])

    async def close(self) -> None:  # noqa: D102
        return

    async def _pause(self, what: str) -> None:
        await asyncio.sleep(self._latency.get(what, 0.0))

    def _machine(self, serial: str) -> Document:
        """The machine as it is now: a deploy whose time has passed is done."""
        path = self._folder / "machines" / f"{serial}.json"
        found = _read(path)
        if found is None:
            raise PermanentError(f"the BMC of machine {serial} does not answer", cure="check its address and cable")
        deploy = found["deploy"]
        if (
            deploy
            and deploy["state"] == "deploying"
            and time.time() >= deploy["booted_at"] + self._latency.get("deploy", 0.0)
        ):
            deploy["state"] = "done"
            found["stamp"] = f"{deploy['address']}@{deploy['generation']}"
            found["addresses"], found["revoked"] = _addresses(deploy["nics"]), False
            self._fresh_host(deploy["host"])
            _write(path, found)
        return found

    def _fresh_host(self, name: str) -> None:
        """A new operating system knows no bridges and mounts nothing; what lies on pool disks is still there."""
        path = self._folder / "hosts" / f"{name}.json"
        state = _read(path)
        if state is not None:
            state["segments"] = {}
            for volume in state["volumes"].values():
                volume["mounted"] = False
            _write(path, state)

    def _change(self, serial: str, **change: Any) -> None:
        _write(self._folder / "machines" / f"{serial}.json", {**self._machine(serial), **change})


def _addresses(nics: list[Document]) -> Document:
    """What each NIC has."""
    return {nic["name"]: {key: value for key, value in nic.items() if value is not None} for nic in nics}


def _segments(state: Document, call: Document) -> Document:
    segments = state["segments"]
    found = segments.get(call["bridge"])
    match call["verb"]:
        case "apply":
            if found and parse_stamp(found["stamp"]) != parse_stamp(call["stamp"]):
                raise PermanentError(f"{call['bridge']} carries {found['stamp']}", cure="remove that first")
            segments[call["bridge"]] = {"stamp": call["stamp"], "ports": sorted(call["ports"])}
        case "remove":
            if found and found["stamp"] == call["stamp"]:
                del segments[call["bridge"]]
    return dict(segments.get(call["bridge"], {"stamp": "", "ports": []}))


def _volumes(state: Document, call: Document) -> Document:
    volumes = state["volumes"]
    key = f"{call['pool']}/{call['volume']}"
    found = volumes.get(key)
    match call["verb"]:
        case "apply":
            if found and found["stamp"] != call["stamp"]:
                raise PermanentError(f"{key} carries {found['stamp']}", cure="remove that first")
            data = found["data"] if found else ""
            volumes[key] = {"stamp": call["stamp"], "size_bytes": call["size_bytes"], "mounted": True, "data": data}
        case "holds":
            held = found is not None and found["stamp"] == call["stamp"] and bool(found["data"])
            return {"entries": int(held), "such_as": found["data"] if held and found else ""}
        case "remove":
            if found and found["stamp"] == call["stamp"]:
                if found["data"] and not call["data_too"]:
                    return {"refused": found["data"]}
                del volumes[key]
    return {key: value for key, value in volumes.get(key, {"stamp": ""}).items() if key != "data"}


def _read(path: Path) -> Document | None:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a tenth of the time
            document = json.loads(file.read())
    except FileNotFoundError:
        return None
    return dict(document)


def _write(path: Path, document: Document) -> None:
    name = str(path)
    temporary = f"{name}.{os.getpid()}.new"
    data = json.dumps(document).encode()
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(descriptor, data)
    os.close(descriptor)
    os.rename(temporary, name)  # noqa: PTH104 - as above
