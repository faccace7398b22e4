"""``pachon verify``: the tests of roles on the hosts that carry them."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer, Part, Table
from pachon.cli.frame import Call, LongCommand, complete, example, verb
from pachon.errors import ExitCode

if TYPE_CHECKING:
    from pachon.drivers.testinfra.orders import Outcome
    from pachon.verify import Verification

app = verb()


def _complete(ctx: typer.Context, incomplete: str) -> list[str]:
    return [name for kind in ("site", "host", "group") for name in complete(kind)(ctx, incomplete)]


@app.command(
    cls=LongCommand,
    epilog=example("pachon verify", "pachon verify base-adm01", "pachon verify archive firewall --junit verify.xml"),
)
def verify(
    ctx: typer.Context,
    *,
    only: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SITE|ENCLAVE|HOST|ROLE",
            help="What to test (default: every active host). A name that is both is the site's; role/NAME is the role.",
            autocompletion=_complete,
        ),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the outcomes as JUnit XML.", show_default=False)
    ] = None,
    connect_limit: Annotated[float, typer.Option(metavar="SECONDS", help="Limit for reaching a host.")] = 10,
    command_limit: Annotated[float, typer.Option(metavar="SECONDS", help="Limit for one command there.")] = 30,
    connections: Annotated[int, typer.Option(metavar="N", help="Open at once in one process.")] = 16,
) -> Answer:
    """Test hosts by the tests of their roles (testinfra), and each host for being what it should be.

    Sites, enclaves and hosts say where, roles say which tests. A host that cannot be reached is reported once. Exit
    status 1 when a test failed. 'pytest playbooks/roles --facility NAME' runs the same tests.
    """
    from pachon.verify import orders, prepare, write_junit
    from pachon.verify import verify as run_tests

    call = Call.of(ctx)
    facility = call.facility()
    sites = call.sites(facility) if call.site_name else ()
    state = places.state(facility.name)
    given = orders(facility, state=state, only=[*(only or ()), *(site.name for site in sites)])
    if given.targets:
        prepare(facility, state)
    given = given.model_copy(
        update={"connect_seconds": connect_limit, "command_seconds": command_limit, "connections": connections}
    )
    with call.progress() as progress:
        verification = asyncio.run(run_tests(given, progress=progress))
    if junit is not None:
        write_junit(verification, junit)
    return _answer(verification)


def _answer(verification: "Verification") -> Answer:
    counts = verification.counts
    text: list[Part] = []
    if verification.failed:
        rows = [
            (outcome.host, outcome.verdict, _test(outcome), " ".join(outcome.message.split())[:200])
            for outcome in verification.failed
        ]
        text += [Table(("host", "verdict", "test", "message"), rows, folds=("test", "message")), ""]
    text.append(
        f"{len(verification.hosts)} hosts, {len(verification.outcomes)} tests: "
        + (", ".join(f"{number} {verdict}" for verdict, number in sorted(counts.items())) or "nothing to test")
        + f" in {verification.seconds:g} s"
    )
    return Answer(
        value={**verification.model_dump(mode="json"), "counts": counts},
        text=text,
        exit_code=ExitCode.FAILED if verification.failed else ExitCode.DONE,
        talk=[f"{outcome.host}: {outcome.cure}" for outcome in verification.failed if outcome.cure],
    )


def _test(outcome: "Outcome") -> str:
    if outcome.verdict == "unreachable":
        return ""
    return f"{outcome.role}: {outcome.test}" if outcome.role else outcome.test
