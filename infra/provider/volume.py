"""Volume: space with a limit in a storage pool of a host, mounted by systemd.

A btrfs volume is a subvolume with a quota; an xfs volume is the whole file system of its pool. The stamp is the
extended attribute ``user.pachon`` of its top folder. The pool's file system is made with its first volume and stays.
"""

from typing import Any

from infra.provider.context import Context
from infra.provider.family import Found, Properties
from infra.provider.host import fencing
from infra.provider.inputs import VolumeInputs
from infra.provider.world import HostAt
from pachon.errors import RefusedError
from pachon.model.hardware import Kind
from pachon.model.stamp import Stamp, parse_stamp

NOWHERE = "/nowhere"
"""Asked for in the place of a mount that is not known."""


class Volumes:
    """The family."""

    kind = Kind.VOLUME
    stage = "storage"
    model = VolumeInputs

    async def create(self, context: Context, inputs: Properties) -> Properties:
        """Make and mount the volume, or find it made."""
        return await _call(context, VolumeInputs.model_validate(inputs), "apply")

    async def read(self, context: Context, inputs: Properties) -> Found | None:
        """The volume under its name in its pool, if it carries a stamp of this address.

        Where the journal says that it was given another mount it counts as mounted there: an update takes that away.
        """
        mount = context.wanted(inputs)["mount"]
        wanted = VolumeInputs.model_validate({**inputs, "mount": mount or NOWHERE})
        answer = await _call(context, wanted, "read")
        stamp = parse_stamp(str(answer.get("stamp", "")))
        if stamp is None or stamp.address != wanted.address:
            return None
        found = {**inputs, "generation": stamp.generation, "mount": mount if answer.get("mounted") else ""}
        if answer.get("mounted") and answer.get("size_bytes"):
            found["size_gib"] = int(answer["size_bytes"]) // 2**30
        if (told := context.told(inputs, stamp.generation, "mount")) != mount:
            found["mount"] = told
        return Found(found, answer)

    async def update(self, context: Context, old: Properties, new: Properties) -> Properties:
        """Set the limit, mount it where it is to be."""
        return await _call(context, VolumeInputs.model_validate(new), "apply", old_mount=str(old.get("mount", "")))

    async def delete(self, context: Context, inputs: Properties) -> None:
        """Remove the volume if it carries exactly this stamp; with data in it only when that was approved by name.

        One that the journal knows to be gone is not looked for: the host under it may be gone as well.
        """
        if await _was_removed(context, str(inputs["address"]), str(inputs["generation"])):
            return
        if not inputs.get("mount"):
            inputs = {**inputs, "mount": NOWHERE}
        wanted = VolumeInputs.model_validate(inputs)
        approved = wanted.address in context.run.destroy_data
        answer = await _call(context, wanted, "remove", data_too=approved)
        if answer.get("refused"):
            raise RefusedError(
                f"{wanted.address}: it holds data ({answer['refused']}) and its destruction was not approved",
                cure="move the data away, or approve the destruction of this volume by name",
            )


async def _was_removed(context: Context, address: str, generation: str) -> bool:
    from sqlalchemy.engine import Connection

    from pachon.store.journal import removed_in

    def work(connection: Connection) -> bool:
        return removed_in(connection, address, generation)

    return bool(await context.journal.write(work))


async def holds(context: Context, inputs: Properties) -> str:
    """What lies in the volume, in words after its name: ``is empty``, or ``holds 3 entries, such as runs``."""
    wanted = VolumeInputs.model_validate({**inputs, "mount": inputs.get("mount") or NOWHERE})
    answer = await _call(context, wanted, "holds")
    number = int(answer.get("entries", 0))
    if not number:
        return "is empty"
    return f"holds {number} {'entries' if number > 1 else 'entry'}, such as {answer.get('such_as')}"


async def _call(context: Context, wanted: VolumeInputs, verb: str, **further: Any) -> dict[str, Any]:
    call = {
        "verb": verb,
        "stamp": str(Stamp(address=wanted.address, generation=wanted.generation)),
        "volume": wanted.volume,
        "pool": wanted.pool,
        "disks": [disk.model_dump(mode="json") for disk in wanted.disks],
        "file_system": wanted.file_system,
        "mirrored": wanted.mirrored,
        "size_bytes": wanted.size_gib * 2**30,
        "mount": wanted.mount,
        **further,
        **fencing(context),
    }
    host = HostAt(site=wanted.site, name=wanted.host, domain="", management_address=str(wanted.management_address))
    async with context.host_lock(wanted.host):
        return await context.world.run_program(host, "volumes", call)
