"""``pachon drift``: what on hosts is no longer as roles left it."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer, Part, facts
from pachon.cli.frame import Call, Command, complete, example, no_such, verb
from pachon.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from pachon.drift import Drift, Report
    from pachon.model.facility import Facility, Site

ACCEPT = "accept"

app = verb()


@app.command(
    cls=Command,
    epilog=example(
        "pachon drift",
        "pachon drift base --json",
        "pachon drift --known",
        "pachon drift accept base/host/base-adm01/file:/etc/resolv.conf --reason 'a trial' --until 2030-01-31",
    ),
)
def drift(
    ctx: typer.Context,
    *,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SITE]... | accept ADDRESS",
            help="Sites to look at (default: all), or 'accept' and the address of a difference.",
            autocompletion=complete("site"),
        ),
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="With 'accept': why it may be so.")] = "",
    until: Annotated[
        str, typer.Option(metavar="DAY", help="With 'accept': until when (UTC), as 2030-01-31 or 2030-01-31T12:00.")
    ] = "",
    known: Annotated[
        bool, typer.Option("--known", help="Ask no host: say what 'pachon serve' saw last, and when.")
    ] = False,
) -> Answer:
    """Show every difference between what roles left on hosts and what is there now: the task that owns it, since when.

    'pachon up' puts it right; an owner may accept it for a while. Where 'pachon serve' runs the look goes through it.
    Exit status: 0 nothing differs, 3 something does, 4 a host could not be asked.
    """
    from pachon import drift as room

    call = Call.of(ctx)
    facility = call.facility()
    given = words or []
    state = places.state(facility.name)
    if given[:1] != [ACCEPT]:
        if reason or until:
            raise UsageError(
                "--reason and --until go with 'accept'", cure="pachon drift accept ADDRESS --reason … --until …"
            )
        talk: list[str] = []
        wanted = _sites(call, facility, given)
        report = asyncio.run(
            room.find(facility, wanted, state, progress=lambda event: talk.append(event.message), known=known)
        )
        return _answer(report, talk, known=known)
    if known:
        raise UsageError("what is accepted has to be seen now", cure="leave --known out")
    if len(given) != 2 or not reason or not until:
        raise UsageError(
            "accepting takes an address, a reason and an end", cure="pachon drift accept ADDRESS --reason … --until …"
        )
    site = _site(facility, given[1].partition("/")[0])
    moment = _moment(until)
    taken = room.take(
        asyncio.run(room.find(facility, [site], state)), given[1], reason=reason, until=moment, state=state
    )
    value = {"address": taken.address, "reason": reason, "by": taken.by, "until": moment, "seen": dict(taken.seen)}
    return Answer(value=value, text=[facts({key: value[key] for key in ("address", "reason", "by", "until")})])


def _sites(call: Call, facility: "Facility", names: list[str]) -> "list[Site]":
    return [_site(facility, name) for name in names] or list(call.sites(facility))


def _site(facility: "Facility", name: str) -> "Site":
    known = {site.name: site for site in facility.sites}
    if name not in known:
        raise no_such("site", name, list(known), facility=facility.name)
    return known[name]


def _moment(written: str) -> datetime:
    try:
        moment = datetime.fromisoformat(written)
    except ValueError as error:
        raise UsageError(f"{written!r} is no day", cure="write it as 2030-01-31 or 2030-01-31T12:00 (UTC)") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _answer(report: "Report", talk: list[str], *, known: bool) -> Answer:
    text: list[Part] = []
    for each in report.drift:
        text += [each.address, *(f"  {line}" for line in _lines(each))]
    text += [""] if report.drift else []
    text += [
        f"unknown: {each.host}: {each.why}" + (f"; last seen {each.since:%Y-%m-%d %H:%M} UTC" if each.since else "")
        for each in report.unknown
    ]
    number = len(report.open)
    said = f"{number} difference{'' if number == 1 else 's'}" if number else "nothing differs"
    text.append(f"{report.hosts} hosts answered: {said} from what roles left there")
    if known:
        seconds = int((datetime.now(UTC) - report.as_of).total_seconds())
        text.append(f"as of {report.as_of:%Y-%m-%d %H:%M:%S} UTC, {seconds} s ago")
    code = ExitCode.PENDING if report.open else ExitCode.DEGRADED if report.unknown else ExitCode.DONE
    hints = ["'pachon up' puts it right; 'pachon drift accept' lets it be for a while"] if report.open else []
    return Answer(value=report, text=text, exit_code=code, talk=[*talk, *hints])


def _lines(each: "Drift") -> list[str]:
    told = [f"{each.aspect}: {_short(each.seen)} instead of {_short(each.expected)}"]
    if each.aspect == "left":
        told = [f"left over: {_short(each.seen)}, and no role mentions it any more"]
    told.append(f"of role {each.role}: {each.task}; since {each.since:%Y-%m-%d %H:%M} UTC")
    if each.accepted:
        told.append(
            f"accepted by {each.accepted.by} until {each.accepted.until:%Y-%m-%d %H:%M} UTC: {each.accepted.reason}"
        )
    return told


def _short(value: str) -> str:
    return (value if len(value) <= 32 else f"{value[:12]}…") or "nothing"
