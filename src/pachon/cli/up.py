"""``pachon up``: brings a facility to what its definition says."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer, Part, Table, facts
from pachon.cli.campaign import outcome
from pachon.cli.frame import Call, LongCommand, example, verb
from pachon.errors import ExitCode, PachonError, RefusedError

if TYPE_CHECKING:
    from pachon.apply import Order, UpReport
    from pachon.batch.report import CampaignReport
    from pachon.progress import Progress

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
    """Bring the facility to what its definition says, then run the campaign that belongs to it, once.

    'plan' and 'apply' in one: the plan is carried out at once if it destroys nothing but what is approved here.
    May be killed at any moment and run again: what is done stays done. Exit status: 0 done, 5 something would be
    destroyed that was not approved (or somebody else is writing), 6 some resources, hosts or products failed and the
    others are right.
    """
    from pachon.apply import Order
    from pachon.apply import up as bring_up
    from pachon.approving import signers_of
    from pachon.batch.by_default import campaign_of

    call = Call.of(ctx)
    facility = call.facility()
    if signers := signers_of(call.folder):
        raise RefusedError(
            f"{facility.name} asks for signed approvals ({signers})",
            cure="'pachon plan --out FILE', 'pachon approve FILE --key KEY', then 'pachon apply FILE'",
        )
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
    if call.folder is not None:
        campaign_of(call.folder, facility)  # a mistake in it is told of before anything is done
    with call.progress() as progress:
        report = bring_up(order, progress)
        try:
            campaign = _campaign(order, report, progress)
        except PachonError as error:
            from pachon.site_run import Failed

            failed = Failed(address="campaign", error=error.message, cure=error.cure)
            campaign, report = None, report.model_copy(update={"failures": (*report.failures, failed)})
    return answer_of(report, campaign, order.state)


def _campaign(order: "Order", report: "UpReport", progress: "Progress") -> "CampaignReport | None":
    """The facility's campaign, run to its end if it was not before; it needs all sites, and hosts that are right."""
    from pachon.batch.by_default import run_default
    from pachon.events import Recorder
    from pachon.store.lease import new_run_id

    whole = {site.name for site in order.sites} == {site.name for site in order.facility.sites}
    if order.definition is None or not whole or not report.hosts or report.failures or report.stands_on == "twin":
        return None
    recorder = Recorder(order.state / "events.jsonl", run=new_run_id(), shown=progress)
    try:
        return asyncio.run(run_default(order.facility, order.definition, order.state, recorder))
    finally:
        recorder.close()


def answer_of(report: "UpReport", campaign: "CampaignReport | None", state: Path) -> Answer:
    """What a run came to, as an answer."""
    rows = [(host.name, host.site, host.machine, host.address, host.done) for host in report.hosts]
    head = {
        "facility": report.facility,
        "stands on": report.stands_on,
        "changed": report.changed or campaign is not None,
        "why": report.why,
        "took": f"{report.seconds} s",
    }
    text: list[Part] = [facts(head)]
    if report.lacks:
        text += ["this is the twin (no operating systems); for the real lab this machine lacks:"]
        text += [f"  {lack}" for lack in report.lacks]
    text += ["", Table(("host", "site", "machine", "address", "done"), rows, empty="no active host")]
    if report.child_plan:
        text += [
            f"more than the plan holds would be needed; the child plan waits for its approval: {report.child_plan}"
        ]
    for failure in report.failures:
        text += [f"failed: {failure.address}: {failure.error}" + (f"; {failure.cure}" if failure.cure else "")]
    if campaign is not None:
        text += ["", *outcome(campaign)]
    code = ExitCode.DONE if campaign is None or campaign.complete else ExitCode.PARTIAL
    if report.failures:
        healthy = any(host.done != "failed" for host in report.hosts)
        code = ExitCode.PARTIAL if healthy or len(report.failures) < len(report.hosts) else ExitCode.FAILED
        code = ExitCode.PARTIAL if report.hosts else code
    talk = [f"log in with: pachon host ssh {host.name}" for host in report.hosts if host.done != "failed"][:1]
    if report.failures:
        talk = ["mend what is named and run again: what is done stays done", f"events: {state / 'events.jsonl'}"]
    value = report.model_dump(mode="json") | {
        "changed": head["changed"],
        "campaign": None if campaign is None else campaign.model_dump(mode="json", exclude={"provenance"}),
    }
    return Answer(value=value, text=text, exit_code=code, talk=talk)
