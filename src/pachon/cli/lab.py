"""``pachon lab``: emulated hardware by itself, as if racks were built or taken away."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer, Part, Table, facts
from pachon.cli.frame import Call, Command, LongCommand, complete, example, noun
from pachon.errors import ExitCode, MissingError, RefusedError, UsageError

if TYPE_CHECKING:
    from infra.lab.instance import LabStatus, MachineStatus
    from pachon.model.facility import Facility

app = noun("The emulated hardware by itself.")
link_app = noun("Cut and mend links between sites.")
site_app = noun("Cut sites off and let them in again.")
app.add_typer(link_app, name="link")
app.add_typer(site_app, name="site")

LinkName = Annotated[str, typer.Argument(metavar="NAME", help="Link of the definition.")]
SiteName = Annotated[
    str, typer.Argument(metavar="SITE", help="Site of the definition.", autocompletion=complete("site"))
]


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

    What 'pachon up' made on it goes with it and is on record as gone: the next 'pachon up' makes it anew. Keys, secrets
    and the record of runs stay until 'pachon down'. A lab that stands is taken away by its name where its definition
    has a mistake or is gone.
    """
    from pachon.teardown import take_hardware_away

    call = Call.of(ctx)
    name, complaint = standing_name(call)
    with call.progress() as progress:
        take_hardware_away(name, state=places.state(name), command="pachon lab down", progress=progress)
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
    sites = [(site.name, site.floor, site.network, site.bmc_pid is not None, site.cut_off) for site in found.sites]
    links = [
        (link.name, " - ".join(link.sites), link.rate_mbps, link.delay_ms, link.pid is not None, link.cut)
        for link in found.links
    ]
    machines = [
        (machine.serial, machine.site, machine.kind, _power(machine), machine.boot_source, machine.boots)
        for machine in found.machines
    ]
    text: list[Part] = [facts({"facility": name, "kind": kind, "up": found.up, "owner": found.owner})]
    if found.machines:
        text += ["", Table(("site", "namespace", "network", "bmcs answer", "cut off"), sites, folds=("namespace",))]
    if links:
        text += ["", Table(("link", "sites", "mbit/s", "ms one way", "carries", "cut"), links, folds=("sites",))]
    if found.machines:
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


@link_app.command("cut", cls=Command, epilog=example("pachon lab link cut base-archive"))
def cut_link(ctx: typer.Context, name: LinkName) -> Answer:
    """Let nothing pass a link any more; what is under way is lost and neither end is told.

    Lasts until 'pachon lab link mend', or until the next 'pachon lab up' or 'pachon up'.
    """
    from infra.lab import faults

    faults.cut_link(_standing(ctx), name)
    return Answer(value={"link": name, "cut": True}, text=[f"link {name} is cut"])


@link_app.command("mend", cls=Command, epilog=example("pachon lab link mend base-archive"))
def mend_link(ctx: typer.Context, name: LinkName) -> Answer:
    """Let a link that was cut carry again."""
    from infra.lab import faults

    faults.mend_link(_standing(ctx), name)
    return Answer(value={"link": name, "cut": False}, text=[f"link {name} is whole"])


@site_app.command("cut", cls=Command, epilog=example("pachon lab site cut archive"))
def cut_site(ctx: typer.Context, name: SiteName) -> Answer:
    """Cut a site off: from all other sites, and from the controller on this machine.

    Lasts until 'pachon lab site mend', or until the next 'pachon lab up' or 'pachon up'.
    """
    from infra.lab import faults

    faults.cut_site(_standing(ctx), name)
    return Answer(value={"site": name, "cut_off": True}, text=[f"site {name} is cut off"])


@site_app.command("mend", cls=Command, epilog=example("pachon lab site mend archive"))
def mend_site(ctx: typer.Context, name: SiteName) -> Answer:
    """Let a site in again that was cut off; links that were cut themselves stay so."""
    from infra.lab import faults

    faults.mend_site(_standing(ctx), name)
    return Answer(value={"site": name, "cut_off": False}, text=[f"site {name} is reached again"])


def _standing(ctx: typer.Context) -> "Facility":
    """The facility asked for, whose real lab is ours and up.

    Raises:
        RefusedError: its hardware is real, or the lab of its name is another's.
        MissingError: it is not up, or it is the twin, which has no links.
    """
    from infra.lab import record
    from pachon import ground

    facility = emulated(Call.of(ctx))
    state = places.state(facility.name).resolve()
    if ground.of(facility).kind == "twin":
        raise MissingError("the twin has no links between sites", cure="'pachon doctor' says what the real lab needs")
    record.refuse_strangers(facility.name, state)
    if record.read(facility.name) is None:
        raise MissingError(f"the lab of {facility.name!r} is not up", cure="'pachon lab up' builds it")
    return facility


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
