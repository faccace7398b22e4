"""``pachon network``: which way packets take, and what stops them."""

import asyncio
import re
from typing import TYPE_CHECKING, Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer, Part, Table, facts
from pachon.cli.frame import Call, Command, complete, example, noun
from pachon.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from pachon.model.facility import Facility, Host
    from pachon.tracing import Trace
    from pachon.trial import Trial

PORT = re.compile(r"(?:(tcp|udp)/)?([0-9]{1,5})")
CODES = {"allowed": ExitCode.DONE, "refused": ExitCode.REFUSED, "broken": ExitCode.DEGRADED}

app = noun("The ways between hosts.")


@app.command(
    cls=Command,
    epilog=example(
        "pachon network trace base-batch01 archive-stor01:873",
        "pachon network trace base-bast01 base-db01:22 --live",
        "pachon network trace base-db01 base-stor01 --json",
    ),
)
def trace(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="HOST", help="Where it begins.", autocompletion=complete("host"))],
    target: Annotated[
        str,
        typer.Argument(
            metavar="HOST[:PORT]",
            help="Where it ends; a port such as 22, tcp/22 or udp/53.",
            autocompletion=complete("host"),
        ),
    ],
    *,
    management: Annotated[
        bool,
        typer.Option(
            "--management", help="Over the management segment, though both have addresses on the data network."
        ),
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Try the connection from the host too, and say whether it agrees.")
    ] = False,
) -> Answer:
    """Show which cables, switches, segments, gateways, links and flows carry a path, or what stops it.

    All of it is read off the definition; nobody is asked but with --live. Exit status: 0 it is allowed, 5 no flow
    allows it, 4 something on the way is missing (or, with --live, the world disagrees), 2 there is no such host.
    """
    from pachon.tracing import trace as traced

    call = Call.of(ctx)
    facility = call.facility()
    name, port = target_of(target)
    one, other = call.host(facility, source), call.host(facility, name)
    found = traced(facility, one, other, port, network="management" if management else None)
    trial = asyncio.run(_try(facility, one, other, found)) if live else None
    return _answer(found, trial)


def target_of(written: str) -> tuple[str, str]:
    """Host and port (such as ``tcp/22``, or empty) of ``HOST[:PORT]``.

    Raises:
        UsageError: the port is none.
    """
    name, colon, port = written.partition(":")
    matched = PORT.fullmatch(port)
    if not colon:
        return name, ""
    if matched is None or not 0 < int(matched[2]) < 65536:
        raise UsageError(f"{port!r} is no port", cure="give one such as 22, tcp/22 or udp/53")
    return name, f"{matched[1] or 'tcp'}/{int(matched[2])}"


async def _try(facility: "Facility", source: "Host", target: "Host", found: "Trace") -> "Trial":
    from pachon.cli.access import refuse_planned, refuse_twin, ssh_config
    from pachon.ground import standing
    from pachon.trial import attempt

    state = places.state(facility.name)
    for host in (source, target):
        refuse_planned(host)
    refuse_twin(await standing(facility, state), facility)
    ssh_config(facility, state)
    return await attempt(facility, source, target, found, state=state)


def _answer(found: "Trace", trial: "Trial | None") -> Answer:
    port = f" {found.port}" if found.port else ""
    head = {
        "from": f"{found.source} ({found.source_address})",
        "to": f"{found.target} ({found.target_address}){port}",
        "network": found.network,
        "verdict": found.verdict,
        "open": ", ".join(found.open_ports) or "nothing",
    }
    text: list[Part] = [facts({**head, "allowed by": found.allowed_by} if found.allowed_by else head)]
    rows = [(hop.site, hop.kind, hop.name, hop.about) for hop in found.hops if hop.kind != "flow"]
    text += ["", Table(("site", "what", "name", "about"), rows, folds=("about",))]
    if found.stops:
        text.append("")
    for stop in found.stops:
        text += [f"stopped at {stop.where}: {stop.why}", f"  {stop.cure}"]
    code = CODES[found.verdict]
    if trial is not None:
        text += ["", _tried(trial)]
        code = ExitCode.DEGRADED if trial.agrees is False else code
    return Answer(value={**found.model_dump(mode="json"), "live": trial}, text=text, exit_code=code)


def _tried(trial: "Trial") -> str:
    said = f" ({trial.said})" if trial.said else ""
    if trial.agrees is None:
        why = "" if trial.outcome == "not tried" else "; nobody listens there, so a firewall would say the same"
        return f"tried: {trial.outcome}{said}{why}"
    return f"tried: {trial.outcome}{said}; {'as the definition has it' if trial.agrees else 'the definition disagrees'}"
