"""``pachon up``: brings a facility to what its definition says."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer, Part, Table, facts
from pachon.cli.frame import Call, LongCommand, example, verb
from pachon.errors import ExitCode

if TYPE_CHECKING:
    from pachon.apply import UpReport

app = verb()


@app.command(
    cls=LongCommand,
    epilog=example("pachon up", "pachon up --site base", "pachon up --destroy base/host/base-batch01"),
)
def up(
    ctx: typer.Context,
    destroy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Approve that this is deleted or made anew; once for each address.",
            show_default=False,
        ),
    ] = None,
) -> Answer:
    """Bring the facility to what its definition says.

    May be killed at any moment and run again: what is done stays done. Exit status: 0 done, 5 something would be
    destroyed that was not approved (or somebody else is writing), 6 some resources failed and the others are right.
    """
    from pachon.apply import Order
    from pachon.apply import up as bring_up

    call = Call.of(ctx)
    facility = call.facility()
    approved = frozenset(destroy or ())
    order = Order(
        facility=facility,
        state=places.state(facility.name),
        cache=places.cache(),
        command=" ".join(["pachon up", *(f"--destroy {address}" for address in sorted(approved))]),
        sites=call.sites(facility),
        destroy=approved,
        definition=call.folder,
    )
    with call.progress() as progress:
        report = bring_up(order, progress)
    return _answer(report, order.state)


def _answer(report: "UpReport", state: Path) -> Answer:
    rows = [(host.name, host.site, host.machine, host.address, host.done) for host in report.hosts]
    head = {
        "facility": report.facility,
        "stands on": report.stands_on,
        "changed": report.changed,
        "why": report.why,
        "took": f"{report.seconds} s",
    }
    text: list[Part] = [facts(head)]
    if report.lacks:
        text += ["this is the twin (no operating systems); for the real lab this machine lacks:"]
        text += [f"  {lack}" for lack in report.lacks]
    text += ["", Table(("host", "site", "machine", "address", "done"), rows, empty="no active host")]
    for failure in report.failures:
        text += [f"failed: {failure.address}: {failure.error}" + (f"; {failure.cure}" if failure.cure else "")]
    code = ExitCode.DONE
    if report.failures:
        healthy = any(host.done != "failed" for host in report.hosts)
        code = ExitCode.PARTIAL if healthy or len(report.failures) < len(report.hosts) else ExitCode.FAILED
        code = ExitCode.PARTIAL if report.hosts else code
    talk = [f"log in with: pachon host ssh {host.name}" for host in report.hosts if host.done != "failed"][:1]
    if report.failures:
        talk = ["mend what is named and run again: what is done stays done", f"events: {state / 'events.jsonl'}"]
    return Answer(value=report, text=text, exit_code=code, talk=talk)
