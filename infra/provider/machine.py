"""Machine: what stands in the rack is what the hardware tables say, and its BMC is pinned.

Nothing is made and nothing is destroyed: create inspects and enrols, delete only lets go.
"""

from infra.provider.context import Context, machine_at
from infra.provider.family import Found, Properties
from infra.provider.inputs import MachineInputs
from infra.provider.world import MachineSeen
from pachon.errors import PermanentError
from pachon.model.hardware import Kind


def differences(inputs: MachineInputs, seen: MachineSeen) -> list[str]:
    """What of the machine is not as the tables have it, each in words."""
    if seen.serial != inputs.serial:
        return [f"its serial is {seen.serial!r}, the tables say {inputs.serial!r}"]
    found: list[str] = []
    for nic in inputs.nics:
        if nic.mac not in seen.macs:
            found.append(f"it has no NIC with MAC {nic.mac} ({nic.name}); it has {', '.join(seen.macs) or 'none'}")
    for disk in inputs.disks:
        size = seen.size_bytes_by_disk.get(disk.serial)
        if size is None:
            found.append(
                f"it has no disk {disk.serial} ({disk.name}); it has {', '.join(seen.size_bytes_by_disk) or 'none'}"
            )
        elif size < disk.size_gib * 2**30 * 0.9:  # makers count in powers of ten
            found.append(f"disk {disk.serial} has {size / 2**30:.0f} GiB, the tables say {disk.size_gib}")
    return found


class Machines:
    """The family."""

    kind = Kind.MACHINE
    stage = "compute"
    model = MachineInputs

    async def create(self, context: Context, inputs: Properties) -> Properties:
        """Inspect the machine, compare it with the tables, pin its BMC."""
        wanted = MachineInputs.model_validate(inputs)
        seen = await context.world.inspect(machine_at(context, wanted))
        if wrong := differences(wanted, seen):
            raise PermanentError(
                f"{wanted.address} (BMC {wanted.bmc_address}): " + "; ".join(wrong),
                cure="correct the hardware tables, or the machine",
            )
        await _enrol(context, wanted, seen)
        return _seen(seen)

    async def read(self, context: Context, inputs: Properties) -> Found | None:
        """The machine behind that BMC; another serial there means that ours is gone.

        One whose record was forgotten is enrolled anew, if this run may write.
        """
        wanted = MachineInputs.model_validate(inputs)
        seen = await context.seen(machine_at(context, wanted))
        if seen.serial != wanted.serial:
            return None
        if context.run.fencing_token and not context.pin(wanted.serial, wanted.bmc_tls_sha256):
            await _enrol(context, wanted, seen)
        return Found(inputs, _seen(seen))

    async def update(self, context: Context, old: Properties, new: Properties) -> Properties:
        """Compare with the changed tables."""
        return await self.create(context, new)

    async def delete(self, context: Context, inputs: Properties) -> None:
        """Let go; the machine and its pin stay."""


async def _enrol(context: Context, wanted: MachineInputs, seen: MachineSeen) -> None:
    from sqlalchemy.engine import Connection

    from pachon.model.lifecycle import MachineState
    from pachon.store.machines import enrol_in, move_in

    def work(connection: Connection) -> None:
        state = enrol_in(connection, wanted.serial, site=wanted.site, bmc_tls_sha256=seen.tls_sha256)
        if state is MachineState.ENROLLED:
            move_in(connection, wanted.serial, MachineState.INSPECTED)

    await context.journal.write(work)
    context.note_pin(wanted.serial, seen.tls_sha256)


def _seen(seen: MachineSeen) -> Properties:
    return {
        "serial": seen.serial,
        "macs": list(seen.macs),
        "disks": sorted(seen.size_bytes_by_disk),
        "tls_sha256": seen.tls_sha256,
    }
