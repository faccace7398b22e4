"""``pachon machine``: hardware as the definition has it and as its BMC tells it, and its power."""

import asyncio
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer, Table, facts
from pachon.cli.frame import Call, Command, complete, example, noun
from pachon.errors import ExitCode, PachonError, PartialError, RefusedError

if TYPE_CHECKING:
    from pachon.bmcs import Difference
    from pachon.drivers.redfish import Inventory, Power
    from pachon.model.facility import Facility, Machine, Site

app = noun("List and show machines, and switch them.")

Name = Annotated[
    str,
    typer.Argument(
        metavar="MACHINE", help="Serial of a machine, or name of its host.", autocompletion=complete("machine")
    ),
]


class Switch(StrEnum):
    """What may be done about a machine's power."""

    STATUS = "status"
    ON = "on"
    OFF = "off"
    RESET = "reset"


@app.command("list", cls=Command, epilog=example("pachon machine list", "pachon machine list --site base --power"))
def list_(
    ctx: typer.Context,
    power: Annotated[bool, typer.Option("--power", help="Ask every BMC whether the machine is on.")] = False,
) -> Answer:
    """List the machines of the definition, with the host that each carries.

    With --power a BMC that does not answer is shown as such, and the exit status is 6.
    """
    call = Call.of(ctx)
    facility = call.facility()
    sites = call.sites(facility)
    carries = _carried(facility)
    found = asyncio.run(_inspect(facility, sites)) if power else {}
    machines = [machine for site in sites for machine in site.machines]
    headings = ["machine", "site", "rack", "unit", "model", "bmc", "host"]
    rows = [
        [machine.serial, machine.site, machine.rack, machine.unit, machine.model, machine.bmc_address]
        + [carries.get(machine.serial, "")]
        + ([_power_text(found[machine.serial])] if power else [])
        for machine in machines
    ]
    value = [
        machine.model_dump(mode="json")
        | {"host": carries.get(machine.serial)}
        | ({"power": _power_text(found[machine.serial])} if power else {})
        for machine in machines
    ]
    failures = [(serial, error) for serial, error in found.items() if isinstance(error, PachonError)]
    return Answer(
        value=value,
        text=[Table([*headings, *(["power"] if power else [])], rows, folds=("host", "power"), empty="no machine")],
        exit_code=ExitCode.PARTIAL if failures else ExitCode.DONE,
        talk=[f"{serial}: {error}" for serial, error in failures],
    )


@app.command(cls=Command, epilog=example("pachon machine show base-adm01", "pachon machine show LB0001 --json"))
def show(
    ctx: typer.Context,
    name: Name,
    offline: Annotated[bool, typer.Option("--offline", help="Only the definition; do not ask the BMC.")] = False,
) -> Answer:
    """Show one machine: what its BMC tells next to the definition.

    Exit status 4 when they differ.
    """
    from pachon.bmcs import compare

    call = Call.of(ctx)
    facility = call.facility()
    site, machine = call.machine(facility, name)
    value: dict[str, object] = {
        "machine": machine.serial,
        "host": _carried(facility).get(machine.serial),
        "site": machine.site,
        "rack": f"{machine.rack} unit {machine.unit}",
        "model": f"{machine.vendor} {machine.model}",
        "bmc": machine.bmc_address,
        "management_address": machine.management_address,
    }
    cables = [(c.nic, c.switch, c.port) for c in site.cables if c.machine == machine.serial]
    cabled = Table(("nic", "switch", "port"), cables, empty="no cable", title="cables")
    value_cables = [{"nic": nic, "switch": switch, "port": port} for nic, switch, port in cables]
    if offline:
        return Answer(value={**value, "cables": value_cables, "defined": machine}, text=[facts(value), "", cabled])
    found = asyncio.run(_inspect_one(facility, machine))
    differences = compare(machine, found)
    seen = {
        "power": _power_text(found),
        "asset_tag": found.asset_tag,
        "bios": found.bios,
        "boot": f"{found.boot.source.value}{' (once)' if found.boot.once else ''}",
        "tls_sha256": found.tls_sha256,
    }
    return Answer(
        value={**value, "cables": value_cables, "defined": machine, "found": found, "differences": differences},
        text=[facts({**value, **seen}), "", _compared(differences), "", cabled],
        exit_code=ExitCode.DONE if all(fact.same for fact in differences) else ExitCode.DEGRADED,
    )


@app.command(
    cls=Command,
    epilog=example("pachon machine power base-adm01 status", "pachon machine power base-adm01 reset --yes"),
)
def power(
    ctx: typer.Context,
    name: Name,
    action: Annotated[Switch, typer.Argument(help="What to do.")] = Switch.STATUS,
    yes: Annotated[bool, typer.Option("--yes", help="Do it though the machine carries an active host.")] = False,
    force: Annotated[bool, typer.Option("--force", help="off: cut the power instead of asking the system.")] = False,
) -> Answer:
    """Show or switch the power of a machine, verified by a read.

    Switching off or resetting a machine that carries an active host is refused (5) without --yes.
    """
    call = Call.of(ctx)
    facility = call.facility()
    _, machine = call.machine(facility, name)
    host = _carried(facility, active=True).get(machine.serial, "")
    if host and action in {Switch.OFF, Switch.RESET} and not yes:
        raise RefusedError(
            f"machine {machine.serial} carries the active host {host!r}", cure="add --yes to do it anyway"
        )
    before, after = asyncio.run(_switch(facility, machine, action, force=force))
    value = {"machine": machine.serial, "host": host or None, "action": action, "before": before, "after": after}
    changed = f"{before} -> {after}" if action is not Switch.STATUS else after
    return Answer(value=value, text=[f"{machine.serial}  {changed}" + (f"  ({host})" if host else "")])


@app.command(cls=Command, epilog=example("pachon machine forget LB0001 --yes"))
def forget(
    ctx: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do it though the machine carries an active host.")] = False,
) -> Answer:
    """Forget what was recorded of a machine: the pinned certificate of its BMC and its life so far.

    For a BMC that was replaced: the next 'pachon up' enrols it anew and pins what it then shows. Changes nothing on the
    machine. Refused (5) for the machine of an active host without --yes.
    """
    from pachon.store.database import open_if_there
    from pachon.store.machines import forget as forget_record
    from pachon.store.machines import machine as record_of

    call = Call.of(ctx)
    facility = call.facility()
    _, machine = call.machine(facility, name)
    host = _carried(facility, active=True).get(machine.serial, "")
    if host and not yes:
        raise RefusedError(
            f"machine {machine.serial} carries the active host {host!r}", cure="add --yes to forget its records anyway"
        )
    store = open_if_there(places.store(places.state(facility.name)))
    known = False
    if store is not None:
        try:
            known = record_of(store, machine.serial) is not None
            forget_record(store, machine.serial)
        finally:
            store.close()
    said = "forgotten; the next 'pachon up' enrols it anew" if known else "was never enrolled"
    return Answer(value={"machine": machine.serial, "was_known": known}, text=[f"{machine.serial}  {said}"])


async def _switch(facility: "Facility", machine: "Machine", action: Switch, *, force: bool) -> tuple[str, str]:
    """Power before and after."""
    from pachon.bmcs import open_bmc
    from pachon.drivers.redfish import Power
    from pachon.ground import standing

    wanted = {
        Switch.ON: Power.ON,
        Switch.OFF: Power.FORCE_OFF if force else Power.GRACEFUL_OFF,
        Switch.RESET: Power.FORCE_RESTART,
    }
    state = places.state(facility.name)
    async with open_bmc(machine, state, (await standing(facility, state)).detours) as bmc:
        before = _on_off(await bmc.power())
        if action is Switch.STATUS:
            return before, before
        await bmc.set_power(wanted[action])
        return before, _on_off(await bmc.power())


async def _inspect_one(facility: "Facility", machine: "Machine") -> "Inventory":
    from pachon.bmcs import open_bmc
    from pachon.ground import standing

    state = places.state(facility.name)
    async with open_bmc(machine, state, (await standing(facility, state)).detours) as bmc:
        return await bmc.inspect()


async def _inspect(facility: "Facility", sites: "tuple[Site, ...]") -> "dict[str, Inventory | PachonError]":
    """What every BMC of the sites tells, or why not."""
    from pachon.bmcs import inspect_site
    from pachon.ground import standing

    state = places.state(facility.name)
    detours = (await standing(facility, state)).detours
    found: dict[str, Inventory | PachonError] = {}
    for site in sites:
        found |= await inspect_site(site, state, detours)
    if found and all(isinstance(answer, PachonError) for answer in found.values()):
        failures = [(serial, answer) for serial, answer in found.items() if isinstance(answer, PachonError)]
        raise PartialError(
            "no BMC answered", failures=failures[:5], cure="check the BMC network; of a lab: 'pachon lab status'"
        )
    return found


def _carried(facility: "Facility", *, active: bool = False) -> Mapping[str, str]:
    """Name of the host on each machine."""
    return {
        host.machine: host.name for site in facility.sites for host in (site.active_hosts if active else site.hosts)
    }


def _power_text(found: "Inventory | PachonError") -> str:
    return "no answer" if isinstance(found, PachonError) else _on_off(found.power)


def _on_off(power: "Power") -> str:
    return "on" if power.value == "On" else "off"


def _compared(differences: "tuple[Difference, ...]") -> Table:
    rows = [(fact.fact, fact.defined, fact.found, fact.same) for fact in differences]
    return Table(("fact", "defined", "found", "same"), rows, folds=("defined", "found"))
