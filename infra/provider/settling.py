"""Ends steps of the journal whose run was killed between an effect and its receipt, and of what nobody wants any more.

What the engine then finds as it should be it does not touch again, so nobody else would ever say how they ended: a
host that is gone would be looked for on each run, and its machine would be taken for carrying it. At the end of a
run that could do all it was to do, each step has an outcome, and the last one of each address tells what stands there.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.provider.context import Context, machine_at
from infra.provider.families import FAMILIES
from infra.provider.inputs import HostInputs
from infra.provider.main import context_of
from pachon.drivers.run_file import Declared, RunFile
from pachon.errors import PachonError
from pachon.model.hardware import Kind
from pachon.model.lifecycle import MachineState
from pachon.store.journal import Entry, Outcome

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

OVERTAKEN = "its run was killed, and a later step has overtaken it"


async def settle(run: RunFile, begun: Sequence[Entry], *, last: Mapping[str, Entry]) -> list[str]:
    """Addresses at which the journal now says what the world shows; what does not answer is left as it is.

    ``begun``: steps that other runs left without an outcome. ``last``: the last step of each address, by address.

    Raises:
        RefusedError: a later writer has taken the site's lease.
    """
    context = context_of(run)
    site, todo = _Settling(context, last), to_settle(run.definition, begun, last)
    try:
        told = await asyncio.gather(*(site.at(last[address], entries) for address, entries in todo.items()))
    finally:
        await context.close()
    return [address for address, settled in zip(todo, told, strict=True) if settled]


def to_settle(declared: Collection[str], begun: Iterable[Entry], last: Mapping[str, Entry]) -> dict[str, list[Entry]]:
    """Steps without an outcome, by address; and addresses of which the journal says what cannot be so any more."""
    found: dict[str, list[Entry]] = {}
    for entry in begun:
        found.setdefault(entry.address, []).append(entry)
    for address, entry in last.items():
        if _is_gone(entry) == (address in declared):
            found.setdefault(address, [])
    return dict(sorted(found.items()))


def _is_gone(entry: Entry | None) -> bool:
    return entry is None or (entry.verb == "delete" and entry.outcome == "done")


@dataclass(frozen=True)
class _Settling:
    """The steps of one site."""

    context: Context
    last: Mapping[str, Entry]

    async def at(self, last: Entry, begun: Sequence[Entry]) -> bool:
        """Whether anything was ended at the address of that last step."""
        declared = self.context.run.definition.get(last.address)
        try:
            settled = [await self._overtaken(entry, declared) for entry in begun if entry.step != last.step]
            is_begun = last.step in {entry.step for entry in begun}
            if declared is None:
                settled.append(not _is_gone(last) and await self._unwanted(last, is_begun=is_begun))
            elif is_begun or _is_gone(last):
                settled.append(await self._wanted(last, declared, is_begun=is_begun))
        except _SilentError:
            return False
        return any(settled)

    async def _overtaken(self, entry: Entry, declared: Declared | None) -> bool:
        """A step after which another one was begun there: that one answers for what is of the same generation."""
        same = declared is not None and declared.inputs["generation"] == entry.generation
        later = self.last[entry.address]
        if not same and not (later.generation == entry.generation and later.outcome == "done"):
            if await self._stands(entry):
                return False  # it is yet to be removed
            await self._let_go(entry, "done" if entry.verb == "delete" else "failed", OVERTAKEN)
            return True
        await self.context.journal.finish(entry.step, "failed", OVERTAKEN)
        return True

    async def _wanted(self, last: Entry, declared: Declared, *, is_begun: bool) -> bool:
        """The last step at the address of something that is declared."""
        if not await self._is_as(declared):
            if not is_begun or last.verb != "delete" or await self._stands(last):
                return False  # it is yet to be mended, by this run or the next
            await self._let_go(last, "done", "its run was killed; it was seen to be gone")
            return True
        if last.verb != "delete" and last.inputs == declared.inputs:
            await self.context.journal.finish(last.step, "done", "its run was killed; it was seen to be as begun")
            return True

        def work(connection: "Connection") -> None:
            if is_begun:
                self._finish(connection, last, "failed", "its run was killed; it was seen to be as wanted now")
            self.context.journal.note_in(
                connection,
                last.address,
                "create" if _is_gone(last) else "update",
                kind=declared.kind,
                generation=str(declared.inputs["generation"]),
                inputs=declared.inputs,
                message="it was seen to be as wanted",
            )

        await self.context.journal.write(work)
        return True

    async def _unwanted(self, last: Entry, *, is_begun: bool) -> bool:
        """The last step at the address of something that nothing declares any more."""
        if await self._stands(last):
            return False  # it is planned as a destroy
        if is_begun and last.verb == "delete":
            await self._let_go(last, "done", "its run was killed; it was seen to be gone")
        elif is_begun:
            await self._let_go(last, "failed", "its run was killed; nothing of it was seen to stand", noted=True)
        else:
            await self._let_go(last, None, "", noted=True)
        return True

    async def _is_as(self, declared: Declared) -> bool:
        try:
            found = await FAMILIES[declared.kind].read(self.context, declared.inputs)
        except PachonError as error:
            raise _SilentError from error
        if found is None or any(found.inputs.get(key) != value for key, value in declared.inputs.items()):
            return False
        return declared.kind != Kind.HOST.value or bool(found.seen["on"])

    async def _stands(self, entry: Entry) -> bool:
        """Whether anything stands under the stamp of that step. Of a machine nothing does that is ours."""
        inputs = dict(entry.inputs)
        if entry.kind == Kind.MACHINE.value or (entry.kind == Kind.VOLUME.value and self._left(inputs["host"])):
            return False
        if entry.kind == Kind.NETWORK.value:
            inputs["switches"] = [switch for switch in inputs["switches"] if not self._left(switch["host"])]
            if not inputs["switches"]:
                return False
        try:
            found = await FAMILIES[entry.kind].read(self.context, inputs)
        except PachonError as error:
            raise _SilentError from error
        return found is not None and found.inputs["generation"] == entry.generation

    def _left(self, host: str) -> bool:
        """Whether that host is gone for good, so that nobody could be asked."""
        address = f"{self.context.run.site}/host/{host}"
        return address not in self.context.run.definition and _is_gone(self.last.get(address))

    async def _let_go(self, entry: Entry, outcome: Outcome | None, said: str, *, noted: bool = False) -> None:
        """End a step of which nothing stands; its machine is free, unless another host has come onto it.

        ``noted``: with a delete behind it, so that nothing looks for it any more.
        """
        wanted = HostInputs.model_validate(entry.inputs) if entry.kind == Kind.HOST.value else None
        if wanted is not None:
            try:
                await self._revoke(wanted)
            except PachonError as error:
                raise _SilentError from error

        def work(connection: "Connection") -> None:
            if outcome is not None:
                self._finish(connection, entry, outcome, said)
            if noted:
                given = {"kind": entry.kind, "generation": entry.generation, "inputs": entry.inputs}
                message = "nothing of it stands, and nothing wants it"
                self.context.journal.note_in(connection, entry.address, "delete", message=message, **given)
            if wanted is not None:
                _free(connection, wanted)

        await self.context.journal.write(work)

    async def _revoke(self, wanted: HostInputs) -> None:
        """Withdraw the host's order, which nobody comes for, and its keys."""
        machine = machine_at(self.context, wanted)
        deploy = await self.context.world.deploy_of(machine)
        if deploy is not None and deploy.generation == wanted.generation:
            await self.context.world.revoke(machine)

    @staticmethod
    def _finish(connection: "Connection", entry: Entry, outcome: Outcome, said: str) -> None:
        from pachon.store.journal import finish_in

        finish_in(connection, entry.step, outcome, said)


class _SilentError(Exception):
    """Somebody who would have to be asked does not answer."""


def _free(connection: "Connection", wanted: HostInputs) -> None:
    """Have the machine available again, if it was taken for carrying this host."""
    from pachon.store.machines import find_in, move_in

    record = find_in(connection, wanted.serial)
    if record is None or (record.address, record.generation) != (wanted.address, wanted.generation):
        return
    if record.state not in (MachineState.QUARANTINED, MachineState.RETIRED):  # a person's word
        move_in(connection, wanted.serial, MachineState.AVAILABLE)
