"""Ends steps of the journal whose run was killed between an effect and its receipt.

What the engine then finds as it should be it does not touch again, so nobody else would ever say how they ended: a
host that is gone would be looked for on each run, and its machine would be taken for carrying it.
"""

import asyncio
from collections.abc import Collection, Sequence

from infra.provider.context import Context
from infra.provider.families import FAMILIES
from infra.provider.inputs import HostInputs
from infra.provider.main import context_of
from pachon.drivers.run_file import RunFile
from pachon.errors import PachonError
from pachon.model.hardware import Kind
from pachon.model.lifecycle import MachineState
from pachon.store.journal import Entry


async def settle(run: RunFile, entries: Sequence[Entry], *, newest: Collection[int]) -> list[str]:
    """Addresses of the steps that were ended as the world shows them; what does not answer is left as it is.

    ``newest`` are the numbers of steps after which nothing was begun at their addresses.

    Raises:
        RefusedError: a later writer has taken the site's lease.
    """
    context = context_of(run)
    try:
        told = await asyncio.gather(*(_settle(context, entry, newest=entry.step in newest) for entry in entries))
    finally:
        await context.close()
    return [entry.address for entry, settled in zip(entries, told, strict=True) if settled]


async def _settle(context: Context, entry: Entry, *, newest: bool) -> bool:
    stands, as_begun = False, False
    if entry.kind != Kind.MACHINE.value or entry.verb != "delete":
        try:
            found = await FAMILIES[entry.kind].read(context, entry.inputs)
        except PachonError:
            return False
        stands = found is not None and found.inputs["generation"] == entry.generation
        as_begun = found is not None and all(found.inputs.get(key) == value for key, value in entry.inputs.items())
    if entry.verb == "delete":
        if stands:
            return False
        await context.journal.finish(entry.step, "done", "its run was killed; it was seen to be gone")
        await _let_go(context, entry)
        return True
    if as_begun:
        await context.journal.finish(entry.step, "done", "its run was killed; it was seen to be as begun")
        return True
    if stands or (newest and entry.address in context.run.definition):
        return False  # it is yet to be mended, by this run or the next
    await context.journal.finish(entry.step, "failed", "its run was killed; nothing of it was seen to stand")
    if newest:
        given = {"kind": entry.kind, "generation": entry.generation, "inputs": entry.inputs}
        step = await context.journal.intend(entry.address, "delete", **given)
        await context.journal.finish(step, "done", "nothing of it stands, and nothing wants it")
    return True


async def _let_go(context: Context, entry: Entry) -> None:
    """Have the machine of a host that is gone available again, unless another has come onto it."""
    from sqlalchemy.engine import Connection

    from pachon.store.machines import find_in, move_in

    if entry.kind != Kind.HOST.value:
        return
    serial = HostInputs.model_validate(entry.inputs).serial

    def work(connection: Connection) -> None:
        record = find_in(connection, serial)
        if record is not None and (record.address, record.generation) == (entry.address, entry.generation):
            move_in(connection, serial, MachineState.AVAILABLE)

    await context.journal.write(work)
