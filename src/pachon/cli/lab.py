"""``pachon lab``: emulated hardware by itself, as if racks were built or taken away."""

import asyncio
from typing import TYPE_CHECKING

import typer

from pachon import places
from pachon.cli.answer import Answer, Part, Table, facts
from pachon.cli.frame import Call, Command, LongCommand, example, noun
from pachon.errors import ExitCode, RefusedError, UsageError

if TYPE_CHECKING:
    from infra.lab.instance import LabStatus, MachineStatus
    from pachon.model.facility import Facility

app = noun("The emulated hardware by itself.")


@app.command(cls=LongCommand, epilog=example("pachon lab up", "pachon lab up --facility lab --events lab.jsonl"))
def up(ctx: typer.Context) -> Answer:
    """Build the facility's hardware here: machines (off), BMCs, switches, cables, links between sites.

    Where the real lab cannot run its twin stands in: BMCs and SSH endpoints without operating systems.
    """
    from pachon import ground

    call = Call.of(ctx)
    facility = emulated(call)
    stands_on = ground.of(facility)
    call.keep(facility)
    with call.progress() as progress:
        asyncio.run(stands_on.up(places.state(facility.name), progress))
    kind, lacks = stands_on.kind, list(stands_on.lacks)
    value = {"facility": facility.name, "kind": kind, "lacks": lacks, "machines": len(facility.machines)}
    return Answer(
        value=value,
        text=[f"the {kind} of {facility.name!r} is up: {len(facility.machines)} machines"],
        talk=[f"this is the twin; for the real lab this machine lacks: {'; '.join(lacks)}"] if lacks else [],
    )


@app.command(cls=LongCommand, epilog=example("pachon lab down"))
def down(ctx: typer.Context) -> Answer:
    """Take the emulated hardware away: no process, mount, namespace, loop device or file of it stays but the caches.

    Hosts and boot services that 'pachon up' made are left to 'pachon down'. A lab that stands is taken away by its
    name where its definition has a mistake or is gone.
    """
    from pachon.teardown import remove_hardware

    call = Call.of(ctx)
    name, complaint = standing_name(call)
    with call.progress() as progress:
        asyncio.run(remove_hardware(name, places.state(name), progress))
    return Answer(
        value={"facility": name, "up": False},
        text=[f"the lab of {name!r} is gone"],
        talk=[f"by its name: {complaint}"] if complaint else [],
    )


@app.command(cls=Command, epilog=example("pachon lab status", "pachon lab status --json"))
def status(ctx: typer.Context) -> Answer:
    """Show the emulated hardware: what is up, which machines are on, where their consoles are kept.

    Exit status 4 when it is not up. A lab that stands is shown also where its definition has a mistake or is gone.
    """
    call = Call.of(ctx)
    name, complaint = standing_name(call)
    kind, found = asyncio.run(_look(name))
    sites = [(site.name, site.floor, site.network, site.bmc_pid is not None) for site in found.sites]
    machines = [
        (machine.serial, machine.site, machine.kind, _power(machine), machine.boot_source, machine.boots)
        for machine in found.machines
    ]
    text: list[Part] = [facts({"facility": name, "kind": kind, "up": found.up, "owner": found.owner})]
    if found.machines:
        text += ["", Table(("site", "namespace", "network", "bmcs answer"), sites, folds=("namespace",))]
        text += ["", Table(("machine", "site", "kind", "power", "boot source", "boots"), machines)]
        text += ["", f"consoles: {found.machines[0].console.parent.parent}/*/{found.machines[0].console.name}"]
    text += [f"problem: {problem}" for problem in found.problems]
    text += [f"its definition cannot be used: {complaint}"] if complaint else []
    return Answer(
        value={"kind": kind, **found.model_dump(mode="json"), "definition": complaint},
        text=text,
        exit_code=ExitCode.DONE if found.up else ExitCode.DEGRADED,
        talk=[] if found.up else ["'pachon lab up' builds or mends it"],
    )


async def _look(name: str) -> "tuple[str, LabStatus]":
    """What kind of emulation there is, and how it is: the twin where that was built or the lab cannot be."""
    from infra.lab import instance
    from infra.lab.twin import instance as twin

    state = places.state(name)
    if twin.folder(state).exists() or instance.missing():
        return "twin", await twin.status(name, state=state)
    return "lab", await instance.status(name, state=state)


def _power(machine: "MachineStatus") -> str:
    if not machine.on:
        return "off"
    return "on, halted" if machine.halted else "on"


def standing_name(call: Call) -> tuple[str, str]:
    """Name of the facility asked for, and why its definition cannot be used (empty if it can).

    Raises:
        RefusedError: its hardware is real.
        UsageError: the definition cannot be used, and no lab of it is on record here.
    """
    from pachon import known
    from pachon.teardown import refuse_racks

    try:
        return emulated(call).name, ""
    except UsageError as error:
        name = known.name_of(call.wanted)
        if name is None:
            raise
        refuse_racks(name, places.state(name))
        return name, error.message


def emulated(call: Call) -> "Facility":
    """The facility asked for.

    Raises:
        RefusedError: its hardware is real.
    """
    from pachon.model.facility import Hardware

    facility = call.facility()
    if facility.hardware is not Hardware.LAB:
        raise RefusedError(
            f"facility {facility.name!r} stands on real {facility.hardware.value}",
            cure="only a facility with 'hardware: lab' is emulated; copy the definition and change that to rehearse",
        )
    return facility
