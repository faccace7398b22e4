"""``pachon service``: the catalogue, what its entries lack, and the order in which services start and stop."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pachon import places
from pachon.cli.answer import Answer, Part, Table, facts
from pachon.cli.frame import Call, Command, complete, example, no_such, noun
from pachon.errors import DefinitionError, ExitCode, UsageError

if TYPE_CHECKING:
    from pachon.definition.catalogue import Read
    from pachon.model.facility import Facility
    from pachon.model.service import Service
    from pachon.starting import Order, Start

app = noun("The catalogue of services, what its entries lack, and the order in which services start and stop.")


@app.command(
    "list",
    cls=Command,
    epilog=example("pachon service list", "pachon service list --state deployable", "pachon service list --json"),
)
def list_(
    ctx: typer.Context,
    state: Annotated[
        Literal["declared", "deployable"] | None,
        typer.Option(help="Only those that are only declared, or that are deployable.", show_default=False),
    ] = None,
) -> Answer:
    """List the services of the catalogue, by group: tier, whether only declared or deployable, and what is open.

    OPEN is how much of what an entry should say it does not say yet; 'pachon service lint --all' names all of it.
    """
    from pachon.checks.services import gaps
    from pachon.definition.status import in_order, status_of

    call = Call.of(ctx)
    found = _catalogue(call)
    services = [each for each in in_order(found.services) if _here(each, call) and state in (None, each.state)]
    value = {
        **_counts(services),
        "services": [
            {
                "name": each.name,
                "title": each.title,
                "group": each.group,
                "tier": each.tier,
                "state": each.state,
                "status": status_of(each),
                "kind": each.kind,
                "sites": each.sites,
                "open": len(gaps(each)),
            }
            for each in services
        ],
    }
    return Answer(value=value, text=[*_by_group(services), _counted(services)])


@app.command(cls=Command, epilog=example("pachon service show batch-computing", "pachon service show qserv --json"))
def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A service.", autocompletion=complete("service"))],
) -> Answer:
    """Show one service: who answers for it, what it needs, how it is told that it works, what is promised of it."""
    from pachon.checks.services import gaps
    from pachon.definition.status import status_of

    call = Call.of(ctx)
    found = _catalogue(call)
    if name not in found.services:
        raise no_such("service", name, list(found.services), facility=call.wanted)
    service = found.services[name]
    facility = call.facility()
    placed = [f"{each.site}/{each.enclave}" for each in facility.placements if each.service == name]
    in_force = _in_force(facility, name)
    open_ = [f"{note.message}; {note.cure}" for note in gaps(service)]
    value = {
        **service.model_dump(mode="json"),
        "status": status_of(service),
        "kind": service.kind,
        "placed": placed,
        "in_force": in_force,
        "open": open_,
    }
    return Answer(value=value, text=[*_told(service, placed, open_), *_rolled(in_force)])


@app.command(
    cls=Command, epilog=example("pachon service lint", "pachon service lint --all", "pachon service lint --json")
)
def lint(
    ctx: typer.Context,
    all_: Annotated[
        bool, typer.Option("--all", help="Name also what entries lack of which it is not demanded yet.")
    ] = False,
) -> Answer:
    """Check the catalogue, and name what its entries do not say, as 'path:line: what is missing; what to write'.

    A deployable service of tier real-time or critical must say everything: what one lacks is an error. Of all others
    it is counted, and named with --all. Exit status: 0 no error, 2 some.
    """
    from pachon.checks.services import gaps
    from pachon.definition.catalogue import lint as linted

    call = Call.of(ctx)
    found = _catalogue(call, strict=False)
    lacking = linted(found)
    errors = (*found.complaints, *lacking.errors)
    services = list(found.services.values())
    fields = Counter(note.key for each in services for note in gaps(each) if note.severity == "warning")
    value = {**_counts(services), "errors": errors, "gaps": lacking.gaps, "gaps_by_field": dict(fields.most_common())}
    named = [str(each) for each in (*errors, *(lacking.gaps if all_ else ()))]
    told = f"{len(errors)} error{'' if len(errors) == 1 else 's'}, {len(lacking.gaps)} gaps of which none is demanded"
    more = [] if all_ or not lacking.gaps else ["'pachon service lint --all' names the gaps"]
    by_field = [f"open: {', '.join(f'{key} {number}' for key, number in fields.most_common())}"] if fields else []
    return Answer(
        value=value,
        text=[*named, f"{_counted(services)}: {told}", *by_field],
        exit_code=ExitCode.USAGE if errors else ExitCode.DONE,
        talk=more,
    )


@app.command(
    cls=Command,
    epilog=example("pachon service order", "pachon service order --stop", "pachon service order --graph order.svg"),
)
def order(
    ctx: typer.Context,
    stop: Annotated[bool, typer.Option("--stop", help="The order of stopping.")] = False,
    graph: Annotated[
        Path | None, typer.Option("--graph", metavar="FILE", help="Draw it into this file too (SVG).")
    ] = None,
) -> Answer:
    """Show in which order services start, each once all that it needs passes its contract; or in which they stop.

    Followed from the placements and the needs of the catalogue. A service waits for those that it needs at its own
    site, where there are any; 'pachon check' finds circles and needs that nothing can enforce.
    """
    from pachon.starting import order as ordered
    from pachon.starting import picture

    call = Call.of(ctx)
    facility = call.facility()
    sites = {site.name for site in call.sites(facility)}
    found = ordered(facility, _catalogue(call).services, stopping=stop)
    shown = found.model_copy(
        update={"waves": tuple(tuple(each for each in wave if each.site in sites) for wave in found.waves)}
    )
    if graph is not None:
        try:
            graph.write_text(picture(shown))
        except OSError as error:
            raise UsageError(f"{graph} cannot be written: {error.strerror}", cure="give another file") from error
    return Answer(value=shown, text=_order(shown))


def _catalogue(call: Call, *, strict: bool = True) -> "Read":
    """The catalogue of the facility asked for; with everything wrong with it raised, or told with it."""
    from pachon.definition import find
    from pachon.definition.catalogue import read
    from pachon.definition.loading import catalogue_of

    found = read(catalogue_of(find(call.wanted)))
    if strict and found.complaints:
        raise DefinitionError(found.complaints)
    return found


def _by_group(services: "list[Service]") -> list[Part]:
    """A table for each group that has any."""
    from pachon.checks.services import gaps
    from pachon.definition.status import GROUP_TITLES, status_of

    parts: list[Part] = []
    for group, title in GROUP_TITLES.items():
        rows = [
            (each.name, each.tier, status_of(each), each.kind, len(gaps(each)))
            for each in services
            if each.group is group
        ]
        if rows:
            parts += [Table(("service", "tier", "status", "kind", "open"), rows, title=title), ""]
    return parts


def _here(service: "Service", call: Call) -> bool:
    return call.site_name in ("", *service.sites)


def _counts(services: "list[Service]") -> dict[str, int]:
    from pachon.model.service import ServiceState

    return {state.value: sum(each.state is state for each in services) for state in ServiceState}


def _counted(services: "list[Service]") -> str:
    counts = ", ".join(f"{number} {state}" for state, number in _counts(services).items())
    return f"{len(services)} services: {counts}"


def _told(service: "Service", placed: list[str], open_: list[str]) -> list[Part]:
    """One service for a screen."""
    from pachon.definition.status import status_of

    about = {
        "service": service.name,
        "title": service.title,
        "numbers": service.numbers,
        "group": service.group,
        "also serves": service.also_serves,
        "tier": service.tier,
        "status": status_of(service),
        "deployed by": service.deployment.roles if service.deployment is not None else None,
        "hours": f"{service.hours.when} ({service.hours.basis})" if service.hours else None,
        "meant for": [*service.sites, *service.enclaves],
        "placed at": placed,
        "recovery": _recovery(service),
        "change": _change(service),
    }
    if service.deployment is not None and service.deployment.kubernetes is not None:
        kubernetes = service.deployment.kubernetes
        about["in Kubernetes"] = f"{kubernetes.form} in {kubernetes.path}"
    parts: list[Part] = [facts(about), "", service.operating, ""]
    parts += [facts({f"{role}:": team for role, team in service.owners.model_dump().items()}), ""]
    needs = [(each.service, each.contract, each.endpoint, each.later) for each in service.needs]
    parts += [Table(("needs", "contract", "endpoint", "later"), needs, title="needs"), ""]
    parts += [Table(("probe", "asks", "by hand"), _probes(service), folds=("asks", "by hand"), title="probes"), ""]
    promised = [(each.figure, each.of, each.basis) for each in service.objectives]
    parts += [Table(("promised", "of", "basis"), promised, folds=("promised", "of"), title="objectives")]
    if service.backup is not None:
        parts += [
            "",
            f"backup: {service.backup.how} ({service.backup.basis})",
            f"verified: {service.backup.verified or '-'}",
        ]
    parts += _listed("cold start", service.cold_start) + _listed("cold stop", service.cold_stop)
    parts += _listed("does not do yet", service.lacks)
    parts += _listed("shown by", service.proof) + _listed("not declared yet", open_)
    return parts


def _in_force(facility: "Facility", name: str) -> list[dict[str, Any]]:
    """Each place of which rollouts left a version, with the slots that its hosts are to have."""
    from pachon.store.database import open_if_there
    from pachon.store.releases import on_record

    store = open_if_there(places.store(places.state(facility.name)))
    if store is None:
        return []
    try:
        found = on_record(store, name).in_force
    finally:
        store.close()
    slots = {
        (site.name, each.enclave, f"{each.host}.{each.slot}"): each.version
        for site in facility.sites
        for each in site.instances
        if each.service == name and each.version
    }
    known = [(each.site, each.enclave) for each in found]
    where = dict.fromkeys([*known, *((site, enclave) for site, enclave, _ in slots)])
    version = {(each.site, each.enclave): each.version for each in found}
    return [
        {
            "site": site,
            "enclave": enclave,
            "version": version.get((site, enclave), ""),
            "instances": {slot: each for (*at, slot), each in slots.items() if at == [site, enclave]},
        }
        for site, enclave in where
    ]


def _rolled(in_force: "list[dict[str, Any]]") -> list[Part]:
    rows = [
        (each["site"], each["enclave"], each["version"], [f"{slot} {is_}" for slot, is_ in each["instances"].items()])
        for each in in_force
    ]
    headings = ("site", "enclave", "version", "instances")
    return ["", Table(headings, rows, folds=("instances",), title="in force")] if rows else []


def _probes(service: "Service") -> list[tuple[str, str, str]]:
    from pachon.model.probes import asks, by_hand

    ports = {item.name: item.number for item in service.endpoints}
    return [(probe.name, asks(probe), by_hand(probe, ports.__getitem__)) for probe in service.probes]


def _recovery(service: "Service") -> str:
    time, point = service.recovery_time, service.recovery_point
    told = [
        f"within {time.hours} h ({time.basis})" if time else "",
        f"loses at most {point.hours} h ({point.basis})" if point else "",
    ]
    return ", ".join(filter(None, told))


def _change(service: "Service") -> str:
    change = service.change
    if change is None:
        return ""
    notice = f", told {change.notice_hours} h before" if change.notice_hours else ""
    veto = f"; the Observatory has the last word ({change.observatory_veto})" if change.observatory_veto else ""
    return f"{change.when}, by {change.approver}{notice} ({change.basis}){veto}"


def _listed(title: str, lines: "tuple[str, ...] | list[str]") -> list[Part]:
    return ["", f"{title}:", *(f"  {line}" for line in lines)] if lines else []


def _order(order: "Order") -> list[Part]:
    rows = [
        (number, start.service, f"{start.site}/{start.enclave}", _waits(start))
        for number, wave in enumerate(order.waves, start=1)
        for start in wave
    ]
    headings = ("wave", "service", "where", "after" if order.stopping else "waits for")
    empty = "no service is placed anywhere"
    return [Table(headings, rows, folds=("waits for", "after", "where"), empty=empty)]


def _waits(start: "Start") -> list[str]:
    """What a service waits for, for people: the service with the contract, and where it stands if elsewhere."""
    return [
        f"{wait.service}{'/' + wait.contract if wait.contract else ''}"
        f"{' at ' + wait.address.partition('/')[0] if wait.other_site else ''}{' (later)' if wait.later else ''}"
        for wait in start.waits
    ]
