"""Host: a machine with our operating system on its disk.

A host carries its stamp twice: as the machine's asset tag (written before the deploy) and, signed, on its own disk
(written by the deploy). Both must match for adoption; the asset tag alone decides what a delete may touch.
"""

from infra.provider.context import Context, machine_at
from infra.provider.family import Found, Properties
from infra.provider.inputs import HostInputs
from infra.provider.world import DeploySeen, HostAt, MachineAt, MachineSeen
from pachon.errors import PermanentError, RefusedError, TemporaryError
from pachon.model.hardware import Kind
from pachon.model.lifecycle import MachineState
from pachon.model.stamp import Stamp, parse_stamp
from pachon.progress import Event


class Hosts:
    """The family."""

    kind = Kind.HOST
    stage = "compute"
    model = HostInputs

    async def create(self, context: Context, inputs: Properties) -> Properties:
        """Adopt the host if it stands, go on with its deploy if one runs, else deploy it."""
        wanted = HostInputs.model_validate(inputs)
        machine, host, stamp = machine_at(context, wanted), host_at(wanted), stamp_of(wanted)
        async with context.rack(machine):
            seen = await context.world.inspect(machine)
            tagged = parse_stamp(seen.asset_tag)
            _refuse_other_machine(wanted, seen)
            _refuse_foreign(context, wanted, tagged)
            deploy = await context.world.deploy_of(machine)
            broken = deploy is not None and deploy.generation == stamp.generation and deploy.state == "failed"
            if deploy is not None and (deploy.generation != stamp.generation or broken):
                deploy = None
            live = deploy is not None and deploy.state != "done"
            adopted = tagged == stamp and not live and await self._adopt(context, wanted, deploy, seen, broken=broken)
            if not adopted:
                if not live and deploy is not None:  # done, but what it made is gone
                    await context.world.revoke(machine)
                await self._deploy(context, machine, inputs, stamp)
                await self._arrived(context, machine, host, stamp)
            if adopted or live:  # whoever ordered it may have wanted other addresses
                await _give_addresses(context, wanted)
            await _moved(context, wanted, MachineState.ACTIVE)
        return {"adopted": adopted, "asset_tag": str(stamp), "on": True}

    async def _adopt(
        self, context: Context, wanted: HostInputs, deploy: DeploySeen | None, seen: MachineSeen, *, broken: bool
    ) -> bool:
        """Whether the machine carries exactly this host already; it is started if it was off.

        ``broken``: its last deploy failed. Off after that, and never up before, it has nothing that could answer.

        Raises:
            PermanentError: it was made before and does not answer now; writing over it might lose a good host.
        """
        machine, host, stamp = machine_at(context, wanted), host_at(wanted), stamp_of(wanted)
        made = await made_before(context, stamp)
        if broken and not made and not seen.on:
            return False
        if not seen.on:
            await context.world.start(machine)
        budgets = context.run.budgets
        patience = budgets.ssh_seconds if made or deploy is not None or not seen.on else budgets.adoption_seconds
        answering = await context.world.stamp_on_disk(host, within_seconds=patience)
        if answering.stamp == stamp:
            message = "adopted: it carries the stamp of this generation"
            context.tell(Event(stage=self.stage, address=stamp.address, state="moving", message=message))
            return True
        if answering.stamp is None and made:
            raise PermanentError(
                f"{stamp.address}: machine {machine.serial} carries it, but it has not answered at "
                f"{host.management_address} for {patience:.0f} s: {answering.reason}",
                cure="see its console and its cabling; to have it written anew, clear its asset tag and run again",
            )
        return False

    async def _deploy(self, context: Context, machine: MachineAt, inputs: Properties, stamp: Stamp) -> None:
        """Order the deploy (or find it ordered), mark the machine, boot it, wait until its disk is written.

        The order comes before the mark: a marked machine without an order was therefore deployed once.
        """

        def tell(message: str, fraction: float | None) -> None:
            context.tell(
                Event(stage=self.stage, address=stamp.address, state="moving", message=message, fraction=fraction)
            )

        wanted = HostInputs.model_validate(inputs)
        await _moved(context, wanted, MachineState.DEPLOYING)
        for tries_left in reversed(range(context.run.budgets.boot_tries)):
            try:
                deploy = await context.world.order(machine, inputs)
                await context.world.set_asset_tag(machine, str(stamp))
                if deploy.state == "waiting":
                    tell("booting the deploy image", None)
                    await context.world.boot_deploy(machine)
                else:
                    tell(f"going on with its deploy ({deploy.state})", None)
                await context.world.until_deployed(machine, tell)
                break
            except (PermanentError, TemporaryError) as error:
                if isinstance(error, TemporaryError) and tries_left:
                    tell(f"once more: {error.message}", None)
                    continue
                await _moved(context, wanted, MachineState.FAILED, reason=error.message)
                raise
        tell("booting from its own disk", 1.0)

    async def _arrived(self, context: Context, machine: MachineAt, host: HostAt, stamp: Stamp) -> None:
        """Wait until the host says who it is; a machine that says nothing at all is restarted before it has failed."""
        seconds = context.run.budgets.ssh_seconds
        answering = await context.world.stamp_on_disk(host, within_seconds=seconds)
        for _ in range(context.run.budgets.boot_tries - 1):
            if answering.stamp is not None:
                break
            message = f"restarting it: no answer for {seconds:.0f} s"
            context.tell(Event(stage=self.stage, address=stamp.address, state="moving", message=message))
            await context.world.stop(machine)
            await context.world.start(machine)
            answering = await context.world.stamp_on_disk(host, within_seconds=seconds)
        if answering.stamp is None:
            raise PermanentError(
                f"{stamp.address}: deployed, but it does not answer at {host.management_address} with its certificate "
                f"within {seconds:.0f} s: {answering.reason}",
                cure="see its console; 'pachon machine power' restarts it; the next run adopts it once it answers",
            )
        if answering.stamp != stamp:
            raise PermanentError(
                f"{stamp.address}: deployed, but the host at {host.management_address} says it is {answering.stamp}",
                cure="check management addresses and cabling of both machines in the hardware tables",
            )

    async def read(self, context: Context, inputs: Properties) -> Found | None:
        """The host by the machine's asset tag; of another generation if that is what stands there.

        One whose deploy a killed run has not ended counts as off: its update goes on with it. Its addresses are not
        looked at: where the journal says that it was given others it counts as having those, and an update mends that.
        """
        wanted = HostInputs.model_validate(inputs)
        seen = await context.seen(machine_at(context, wanted))
        tagged = parse_stamp(seen.asset_tag)
        if tagged is None or tagged.address != wanted.address:
            return None
        nics = context.told(inputs, tagged.generation, "nics")
        found = {**inputs, "generation": tagged.generation, "nics": nics}
        on = seen.on and not _is_unfinished(context, wanted.serial, tagged)
        return Found(found, {"adopted": True, "asset_tag": str(tagged), "on": on})

    async def update(self, context: Context, old: Properties, new: Properties) -> Properties:
        """Start it if it is off, or end its deploy; give it its new addresses; groups and enclave are only recorded."""
        before, wanted = HostInputs.model_validate(old), HostInputs.model_validate(new)
        machine, host = machine_at(context, wanted), host_at(wanted)
        seen = await context.world.inspect(machine)
        if parse_stamp(seen.asset_tag) != stamp_of(wanted):
            raise PermanentError(
                f"{wanted.address}: machine {wanted.serial} carries {seen.asset_tag or 'no stamp'}, "
                f"not {stamp_of(wanted)}",
                cure="the world has moved since it was looked at: see 'pachon plan', then run again",
            )
        if _is_unfinished(context, wanted.serial, stamp_of(wanted)):
            await self.create(context, new)
        elif not seen.on:
            await context.world.start(machine)
            await self._arrived(context, machine, host, stamp_of(wanted))
        if before.nics != wanted.nics:
            await _give_addresses(context, wanted)
        return {"adopted": False, "asset_tag": seen.asset_tag, "on": True}

    async def delete(self, context: Context, inputs: Properties) -> None:
        """Switch it off, take the stamp away, revoke its keys; only if the stamp is exactly its own.

        The stamp goes before the keys: a host that still carries it is one whose keys hold, so a delete that was killed
        can be gone on with, or taken back.
        """
        wanted = HostInputs.model_validate(inputs)
        machine = machine_at(context, wanted)
        seen = await context.world.inspect(machine)
        if parse_stamp(seen.asset_tag) != stamp_of(wanted):
            return
        await context.world.stop(machine)
        await context.world.set_asset_tag(machine, "")
        await context.world.revoke(machine)
        await _moved(context, wanted, MachineState.AVAILABLE)


def host_at(wanted: HostInputs) -> HostAt:
    """How the host is spoken to."""
    return HostAt(
        site=wanted.site,
        name=wanted.host,
        domain=wanted.domain,
        management_address=str(wanted.management_address),
    )


def stamp_of(wanted: HostInputs) -> Stamp:
    """The stamp that the host is to carry."""
    return Stamp(address=wanted.address, generation=wanted.generation)


def _is_unfinished(context: Context, serial: str, stamp: Stamp) -> bool:
    return context.deploying(serial) == (stamp.address, stamp.generation)


def fencing(context: Context) -> Properties:
    """What a program on a host needs to turn away an older writer."""
    return {"site": context.run.site, "fencing_token": context.run.fencing_token}


def _refuse_other_machine(wanted: HostInputs, seen: MachineSeen) -> None:
    """Nothing, if the machine is the one that the plan was made for, with the disk that is to be written."""
    cure = "correct the hardware tables, or the machine and its cabling; then run again"
    if seen.serial != wanted.serial:
        raise RefusedError(
            f"{wanted.address}: behind BMC {wanted.bmc_address} is machine {seen.serial}, not {wanted.serial}",
            cure=cure,
        )
    if wanted.disk_serial not in seen.size_bytes_by_disk:
        there = ", ".join(sorted(seen.size_bytes_by_disk)) or "none"
        raise RefusedError(
            f"{wanted.address}: machine {wanted.serial} has no disk {wanted.disk_serial} (it has {there})", cure=cure
        )


def _refuse_foreign(context: Context, wanted: HostInputs, tagged: Stamp | None) -> None:
    """Nothing, if the machine may be written over as far as its stamp says."""
    if tagged is None or tagged == stamp_of(wanted):
        return
    if tagged.address != wanted.address:
        raise RefusedError(
            f"{wanted.address}: machine {wanted.serial} carries {tagged}",
            cure=f"remove {tagged.address} first (drop it from the definition and apply), or choose another machine",
        )
    context.require_allowed(wanted.address, "delete", tagged.generation)


async def _give_addresses(context: Context, wanted: HostInputs) -> None:
    """Have its NICs carry the addresses that it is to have; nothing is touched where they do."""
    host = host_at(wanted)
    call = {"nics": [nic.model_dump(mode="json") for nic in wanted.nics], **fencing(context)}
    async with context.host_lock(host.name):
        await context.world.run_program(host, "addresses", call)


async def is_going(context: Context, address: str) -> bool:
    """Whether this run removes that host, or one has removed it."""
    from sqlalchemy.engine import Connection

    from pachon.store.journal import removed_in

    def work(connection: Connection) -> bool:
        return removed_in(connection, address)

    return context.is_to_go(address) or bool(await context.journal.write(work))


async def made_before(context: Context, stamp: Stamp) -> bool:
    """Whether an earlier step brought exactly this host up."""
    from sqlalchemy.engine import Connection

    from pachon.store.journal import made_in

    def work(connection: Connection) -> bool:
        return made_in(connection, stamp.address, stamp.generation)

    return bool(await context.journal.write(work))


async def _moved(context: Context, wanted: HostInputs, goal: MachineState, *, reason: str = "") -> None:
    from sqlalchemy.engine import Connection

    from pachon.store.machines import move_in

    carries = goal is not MachineState.AVAILABLE

    def work(connection: Connection) -> None:
        move_in(
            connection,
            wanted.serial,
            goal,
            address=wanted.address if carries else "",
            generation=wanted.generation if carries else "",
            reason=reason,
        )

    await context.journal.write(work)
