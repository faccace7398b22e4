"""What every resource operation is given: the run it belongs to, the world, the journal, limits, and an ear."""

import asyncio
import contextlib
import json
import os
from collections import defaultdict
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any

from infra.provider.inputs import HostInputs, MachineInputs
from infra.provider.world import MachineAt, MachineSeen, World
from pachon.drivers.run_file import Allowed, RunFile
from pachon.errors import PachonError, RefusedError
from pachon.progress import Event


class Context:
    """One provider process's hold on its run. The store is opened when first written to, so that a preview is cheap."""

    def __init__(self, run: RunFile, world: World) -> None:
        self.run = run
        self.world = world
        self._racks: dict[tuple[str, str], asyncio.Semaphore] = {}
        self._hosts: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._pins: dict[str, str] | None = None
        self._is_look = False
        self._glanced: dict[MachineAt, asyncio.Task[MachineSeen]] | None = None if run.fencing_token else {}
        self._files: dict[str, int] = {}
        """Descriptors of what is added to, by path."""
        self._deploying: dict[str, tuple[str, str]] | None = None
        self._given: dict[str, list[dict[str, Any]]] | None = None
        self._store: Any = None
        self._journal: Any = None
        self._allowed: dict[str, list[Allowed]] = {}
        for allowed in run.allowed or ():
            self._allowed.setdefault(allowed.address, []).append(allowed)

    @property
    def store(self) -> "Any":
        """The control store."""
        if self._store is None:
            from pachon.store.database import open_store

            self._store = open_store(self.run.store)
        return self._store

    @property
    def journal(self) -> "Any":
        """The site's journal, under this run's lease."""
        if self._journal is None:
            from pachon.store.journal import Journal

            self._journal = Journal(
                self.store, site=self.run.site, run_id=self.run.run_id, fencing_token=self.run.fencing_token
            )
        return self._journal

    def rack(self, machine: MachineAt) -> asyncio.Semaphore:
        """Lets as many deploys of the machine's rack go on at once as the site's limits say."""
        key = (machine.site, machine.rack)
        if key not in self._racks:
            access = self.run.sites.get(machine.site)
            self._racks[key] = asyncio.Semaphore(access.deploys_per_rack if access else 16)
        return self._racks[key]

    def host_lock(self, host: str) -> asyncio.Lock:
        """Lets one program at a time configure that host."""
        return self._hosts[host]

    def glance(self) -> None:
        """Ask each machine once from now on, for a look at what is there: a machine and its host are one BMC.

        What of it cannot change by itself is not asked for.
        """
        self._glanced, self._is_look = {}, True

    async def seen(self, machine: MachineAt) -> MachineSeen:
        """The machine as it is; in a process that may not write, or after ``glance``, as it first was."""
        if self._glanced is None:
            return await self.world.inspect(machine)
        if machine not in self._glanced:
            self._glanced[machine] = asyncio.create_task(_of(self._machine(machine)))
        return await asyncio.shield(self._glanced[machine])

    def _machine(self, machine: MachineAt) -> Awaitable[MachineSeen]:
        return self.world.glance(machine) if self._is_look else self.world.inspect(machine)

    def pin(self, serial: str, declared: str) -> str:
        """Fingerprint expected of the machine's BMC: the definition's, else the one seen at enrolment, else empty."""
        if declared:
            return declared
        if self._pins is None:
            from pachon.store.machines import machines_of

            known = machines_of(self.store, self.run.site)
            self._pins = {serial: record.bmc_tls_sha256 for serial, record in known.items()}
        return self._pins.get(serial, "")

    def deploying(self, serial: str) -> tuple[str, str] | None:
        """Address and generation of the host whose deploy onto that machine is not known to have ended."""
        if self._deploying is None:
            from pachon.model.lifecycle import MachineState
            from pachon.store.machines import machines_of

            known = machines_of(self.store, self.run.site)
            self._deploying = {
                serial: (record.address, record.generation)
                for serial, record in known.items()
                if record.state is MachineState.DEPLOYING
            }
        return self._deploying.get(serial)

    def wanted(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Inputs that the definition has for that resource; those where it has none."""
        declared = self.run.definition.get(inputs["address"])
        return inputs if declared is None else declared.inputs

    def given(self, address: str, generation: str) -> list[dict[str, Any]]:
        """Inputs that this generation was given last, and what it may have been given since by steps that did not end.

        They tell what is not looked at: the engine's own state is that of before a killed run.
        """
        if self._given is None:
            from pachon.store.journal import given

            self._given = given(self.store, self.run.site)
        return [inputs for inputs in self._given.get(address, ()) if inputs["generation"] == generation]

    def told(self, inputs: dict[str, Any], generation: str, key: str) -> Any:
        """What the resource may have for an input that is not looked at: another than is wanted, if that may be so."""
        given = [each[key] for each in self.given(inputs["address"], generation)]
        others = [value for value in given if value != self.wanted(inputs)[key]]
        return (others or given or [inputs[key]])[-1]

    def note_pin(self, serial: str, pin: str) -> None:
        """Remember what enrolment pinned."""
        if self._pins is not None:
            self._pins[serial] = pin

    def require_allowed(self, address: str, verb: str, generation: str) -> None:
        """Nothing, if the plan has that action; a replacement allows its delete and its create.

        Raises:
            RefusedError: it has not, or it destroys and the approval for that has ended.
        """
        until = self.run.destroy_until
        if verb == "delete" and "/machine/" not in address and until is not None and datetime.now(UTC) > until:
            raise RefusedError(
                f"{address}: the approval to destroy it ended at {until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
                cure="look at what is left ('pachon plan'), and approve it anew",
            )
        if self.run.allowed is None:
            return
        verbs = {verb, "replace"} if verb in ("create", "delete") else {verb}
        for allowed in self._allowed.get(address, ()):
            if allowed.verb in verbs and _same_generation(allowed, verb, generation):
                return
        raise RefusedError(
            f"{address}: the plan that was approved has no '{verb}' of generation {generation}",
            cure="make a new plan: the definition or the world has moved since",
        )

    def is_to_go(self, address: str) -> bool:
        """Whether the plan removes it, for good or to make it anew."""
        return any(allowed.verb in ("delete", "replace") for allowed in self._allowed.get(address, ()))

    def tell(self, event: Event) -> None:
        """Hand the event to whoever follows the run."""
        self._append(self.run.events, {key: value for key, value in vars(event).items() if value is not None})

    def tell_failure(self, address: str, error: PachonError) -> None:
        """Hand a failure, whole, to whoever collects them at the end."""
        self._append(
            self.run.failures,
            {"address": address, "error": type(error).__name__, "message": error.message, "cure": error.cure},
        )

    def _append(self, path: str, line: dict[str, Any]) -> None:
        """Add the line, whole; the file stays open: thousands of lines a second may come."""
        if not path:
            return
        if path not in self._files:
            self._files[path] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.write(self._files[path], json.dumps(line).encode() + b"\n")

    async def close(self) -> None:
        """Give back what is open."""
        with contextlib.suppress(PachonError):
            await self.world.close()
        if self._journal is not None:
            await asyncio.to_thread(self._journal.close)
        if self._store is not None:
            self._store.close()
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()


async def _of(seen: Awaitable[MachineSeen]) -> MachineSeen:
    return await seen


def _same_generation(allowed: Allowed, verb: str, generation: str) -> bool:
    """A replacement names the generation that it makes, and the one that it removes."""
    if not allowed.generation:
        return True
    if allowed.verb == "replace" and verb == "delete":
        return allowed.generation != generation and allowed.before in ("", generation)
    return allowed.generation == generation


def machine_at(context: Context, wanted: MachineInputs | HostInputs) -> MachineAt:
    """The machine, or the one under the host."""
    return MachineAt(
        site=wanted.site,
        serial=wanted.serial,
        rack=wanted.rack,
        vendor=wanted.vendor,
        model=wanted.model,
        bmc_address=str(wanted.bmc_address),
        pin=context.pin(wanted.serial, wanted.bmc_tls_sha256),
    )
