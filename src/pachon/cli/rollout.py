"""``pachon rollout``: from one release of a service to the next, watched, gated, and back by itself."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from pachon import places
from pachon.cli.answer import Answer, Part, Table
from pachon.cli.frame import Call, Command, LongCommand, complete, example, no_such, noun
from pachon.cli.rollout_text import because, drawn, evidence, next_windows_of, told
from pachon.errors import DefinitionError, ExitCode, RefusedError, UsageError

T = TypeVar("T")

if TYPE_CHECKING:
    from pachon.model.facility import Facility
    from pachon.model.rollout_record import Wanted
    from pachon.progress import Progress
    from pachon.rollout.beginning import Subject
    from pachon.rollout.plan import RolloutPlan
    from pachon.rollout.world import World
    from pachon.store.database import Store

app = noun("Bring services from one release to the next: in waves, with gates, and back by itself.")

Service = Annotated[str, typer.Argument(metavar="SERVICE", help="A service.", autocompletion=complete("service"))]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="One of its releases.")]
Which = Annotated[str, typer.Argument(metavar="WHICH", help="Name of a rollout, or of a service for its latest one.")]
Why = Annotated[str, typer.Option(metavar="REASON", help="Why: it is kept with the record.")]


@app.command(cls=Command, epilog=example("pachon rollout plan data-access-apis 1.0.1", "pachon rollout plan --help"))
def plan(ctx: typer.Context, service: Service, version: Version) -> Answer:
    """Show how a release would come everywhere, step by step; or every reason why it may not.

    Refused before it begins: a version that is held, an old version that could not be started again, what was not
    proven at the site before by the very same digest, waves in a circle, a drain that leaves too few to serve.
    Exit status: 0 it may begin, 5 it may not.
    """
    from pachon.progress import silent
    from pachon.rollout.beginning import plan as planned

    call = Call.of(ctx)
    facility, subject = _subject(call, service)
    sites = (call.site_name,) if call.site_name else ()
    make = _world(call, facility, subject, version)

    async def made_with(world: "World") -> "RolloutPlan":
        return await planned(subject, world, store, version=version, sites=sites)

    with _store(facility.name, made=True) as store:
        made = asyncio.run(_through(make(store, silent), made_with))
    next_ones = next_windows_of(made, datetime.now(UTC))
    value = {**made.model_dump(mode="json"), "next_windows": next_ones}
    return Answer(value=value, text=drawn(made, next_ones))


@app.command(
    cls=LongCommand, epilog=example("pachon rollout start data-access-apis 1.0.1 --why 'a magnitude more, CHG-1234'")
)
def start(ctx: typer.Context, service: Service, version: Version, why: Why) -> Answer:
    """Carry a rollout out; the same command goes on with one that was killed or whose end was not awaited.

    Each place begins with at most 5 % of the requests. A gate that trips turns everything back by itself and holds the
    version. What cannot be asked is waited for, and said ('pachon rollout status').
    Exit status: 0 the new release serves everywhere, 6 the old one does again.
    """
    from pachon.events import Recorder
    from pachon.rollout.beginning import Order, carry_out
    from pachon.rollout.watching import status_of
    from pachon.store.lease import new_run_id

    call = Call.of(ctx)
    facility, subject = _subject(call, service)
    make = _world(call, facility, subject, version)
    order = Order(
        version=version,
        sites=(call.site_name,) if call.site_name else (),
        by=getpass.getuser(),
        why=why,
        command=f"pachon rollout start {service} {version}",
    )
    with _store(facility.name, made=True) as store, call.progress() as progress:
        recorder = Recorder(places.state(facility.name) / "events.jsonl", run=new_run_id(), shown=progress)
        try:
            row = asyncio.run(
                _through(make(store, recorder), lambda world: carry_out(subject, order, world, store, recorder))
            )
        finally:
            recorder.close()
        found = status_of(store, row)
    return Answer(value=found, text=told(found), exit_code=ExitCode.DONE if found.state == "done" else ExitCode.PARTIAL)


@app.command(cls=Command, epilog=example("pachon rollout status", "pachon rollout status data-access-apis --json"))
def status(
    ctx: typer.Context,
    which: Annotated[
        str, typer.Argument(metavar="[WHICH]", help="A rollout, or a service (default: the latest).")
    ] = "",
) -> Answer:
    """Show how far a rollout is, what it waits for, and on which evidence each gate was opened.

    Exit status: 4 while it waits, is paused, goes back, or nobody carries it out.
    """
    from pachon.rollout.watching import find, status_of
    from pachon.store.rollouts import rollouts_of

    with _store(Call.of(ctx).name_of_facility()) as store:
        latest = rollouts_of(store)[:1]
        if not which and not latest:
            raise _none_yet()
        found = status_of(store, find(store, which) if which else latest[0])
    troubled = found.waits or found.state in ("interrupted", "paused", "going back")
    return Answer(value=found, text=told(found), exit_code=ExitCode.DEGRADED if troubled else ExitCode.DONE)


@app.command(cls=Command, epilog=example("pachon rollout pause data-access-apis --why 'the network is worked on'"))
def pause(ctx: typer.Context, which: Which, why: Why) -> Answer:
    """Have a rollout stay as it is, within a second, and give the site back until it is resumed.

    Versions may stand side by side for so long only as the service's rollout.yaml says: then it goes back.
    """
    return _ask(ctx, which, "paused", why)


@app.command(cls=Command, epilog=example("pachon rollout resume data-access-apis --why 'the network is well'"))
def resume(ctx: typer.Context, which: Which, why: Why) -> Answer:
    """Have a paused rollout go on."""
    return _ask(ctx, which, "forward", why)


@app.command(cls=Command, epilog=example("pachon rollout abort data-access-apis --why 'users complain'"))
def abort(ctx: typer.Context, which: Which, why: Why) -> Answer:
    """Have a rollout go back: the old release everywhere, within a second of being told; nothing is held by this."""
    return _ask(ctx, which, "back", why)


@app.command(
    cls=Command, epilog=example("pachon rollout say science-portal yes --key ~/.ssh/id_ed25519 --why 'clouds'")
)
def say(
    ctx: typer.Context,
    which: Which,
    word: Annotated[Literal["yes", "no"], typer.Argument(metavar="yes|no", help="The Observatory's word.")],
    *,
    key: Annotated[Path, typer.Option(metavar="KEY", help="The SSH key of somebody who speaks for the Observatory.")],
    why: Why,
    until: Annotated[
        str, typer.Option(metavar="TIME", help="How long a yes holds: 8h, 2d, or a date and time.", show_default=False)
    ] = "",
) -> Answer:
    """Give the Observatory's signed word on a rollout, where the catalogue says that it has the last one.

    A yes lets places begin; a no turns everything back and holds the version, also in the middle.
    Refused: a key of nobody in observatory_signers, beside facility.yaml. Without that file it is kept, and stops the
    rollout until the file is there: then it is heard.
    """
    from pachon import defined
    from pachon.approving import moment
    from pachon.rollout import words
    from pachon.rollout.plan import RolloutPlan
    from pachon.rollout.watching import find
    from pachon.store.rollouts import plan_of, speak

    now, signers = datetime.now(UTC), defined.find(Call.of(ctx).wanted) / words.SIGNERS
    with _store(Call.of(ctx).name_of_facility()) as store:
        row = find(store, which)
        made = RolloutPlan.model_validate(plan_of(store, row.id))
        if not made.needs_word:
            raise RefusedError(
                f"nothing says that the Observatory has a word on {row.service}",
                cure=f"if it has, write observatory_veto under change in the entry of {row.service}",
            )
        ends = moment(until, now) if until else None
        saying = words.Saying(rollout=row.id, plan=made.seal, says=word, until=ends, why=why)
        said = words.speak(saying, key, now=now)
        unheard = words.deaf(signers)
        if not unheard:
            words.hear(said, signers, rollout=row.id, plan=made.seal)
        speak(store, row.id, said)
    return Answer(
        value=saying,
        text=[f"{word} to rollout {row.id} of {row.service} {row.version}: {why}"],
        talk=[f"it waits for {unheard}"] if unheard else [],
    )


@app.command(cls=Command, epilog=example("pachon rollout lift data-access-apis 1.0.1 --why 'the sensor was at fault'"))
def lift(ctx: typer.Context, service: Service, version: Version, why: Why) -> Answer:
    """Let a version that is held be rolled out again."""
    from pachon.store import releases

    with _store(Call.of(ctx).name_of_facility()) as store:
        releases.lift(store, service, version, by=getpass.getuser(), why=why, at=datetime.now(UTC))
    value = {"service": service, "version": version, "why": why}
    return Answer(value=value, text=[f"{service} {version} is no longer held"])


@app.command(cls=Command, epilog=example("pachon rollout history", "pachon rollout history data-access-apis --json"))
def history(
    ctx: typer.Context,
    service: Annotated[
        str,
        typer.Argument(metavar="[SERVICE]", help="Only of this service.", autocompletion=complete("service")),
    ] = "",
) -> Answer:
    """List rollouts, the latest first, with what is held and what is in force; of one service with all evidence."""
    from pachon.store.releases import on_record
    from pachon.store.rollouts import rollouts_of, steps_of

    with _store(Call.of(ctx).name_of_facility()) as store:
        rows = rollouts_of(store, service)
        known = {name: on_record(store, name) for name in dict.fromkeys(row.service for row in rows)}
        taken = [(row, step) for row in rows if service for step in steps_of(store, row.id) if step.evidence]
    holds = [hold for each in known.values() for hold in each.holds]
    force = [(name, each) for name, record in known.items() for each in record.in_force]
    value = {
        "rollouts": rows,
        "holds": holds,
        "in_force": [{"service": name, **vars(each)} for name, each in force],
        "evidence": [{"rollout": row.id, **vars(step)} for row, step in taken],
    }
    shown = [
        (row.id, row.service, row.from_version, row.version, row.outcome or row.wanted, row.by, because(row))
        for row in rows
    ]
    text: list[Part] = [
        Table(("rollout", "service", "from", "to", "state", "by", "why"), shown, folds=("why",), title="rollouts"),
        Table(
            ("service", "held", "why"),
            [(hold.service, hold.version, hold.why) for hold in holds],
            folds=("why",),
            title="held",
        ),
        Table(
            ("service", "site", "enclave", "version"),
            [(name, each.site, each.enclave, each.version) for name, each in force],
            title="in force",
        ),
    ]
    opened = [
        (row.id, f"{step.way} {step.number}", step.place, step.verb, step.outcome or "begun", evidence(step.evidence))
        for row, step in taken
    ]
    headings = ("rollout", "step", "place", "verb", "outcome", "evidence")
    text += [Table(headings, opened, folds=("place", "evidence"), title="evidence")] if opened else []
    return Answer(value=value, text=text)


def _ask(ctx: typer.Context, which: str, wanted: "Wanted", why: str) -> Answer:
    from pachon.rollout.watching import find, status_of
    from pachon.store.rollouts import ask

    with _store(Call.of(ctx).name_of_facility()) as store:
        row = find(store, which)
        ask(store, row.id, wanted, by=getpass.getuser(), why=why, at=datetime.now(UTC))
        found = status_of(store, find(store, row.id))
    nobody = f"nobody carries it out now; 'pachon rollout start {found.service} {found.version} --why …' does"
    return Answer(
        value=found,
        text=[f"rollout {found.id} of {found.service} {found.version} is wanted {wanted}: {why}"],
        talk=[nobody] if found.state == "interrupted" else [],
    )


def _subject(call: Call, name: str) -> "tuple[Facility, Subject]":
    from pachon.definition import find, rollouts
    from pachon.definition.catalogue import load
    from pachon.definition.loading import catalogue_of
    from pachon.rollout.subject import subject_of

    facility = call.facility()
    folder = find(call.wanted)
    catalogue = catalogue_of(folder)
    services = load(catalogue)
    if name not in services:
        raise no_such("service", name, list(services), facility=call.wanted)
    read = rollouts.read(catalogue / name)
    if read.complaints:
        raise DefinitionError(read.complaints)
    return facility, subject_of(facility, services[name], rules=read.rules, releases=read.releases, definition=folder)


def _world(call: Call, facility: "Facility", subject: "Subject", version: str) -> "Callable[[Store, Progress], World]":
    release = subject.releases.get(version)
    if release is None:
        known = ", ".join(sorted(subject.releases))
        raise UsageError(f"{subject.service.name} has no release {version!r}", cure=f"it has {known}")
    if release.kind not in WORLDS:
        raise RefusedError(
            f"nothing here carries out rollouts of what is of kind {release.kind} yet",
            cure="bring its hosts to the release with 'pachon plan' and 'pachon apply' until then",
        )
    return partial(WORLDS[release.kind], call, facility, subject)


def _hosts(call: Call, facility: "Facility", subject: "Subject", store: "Store", progress: "Progress") -> "World":
    """What carries rollouts of roles out."""
    from pachon import artefacts
    from pachon.definition import find
    from pachon.definition.loading import catalogue_of
    from pachon.rollout.host_world import HostWorld
    from pachon.rollout.playing import Roles

    state, deployment = places.state(facility.name), subject.service.deployment
    artefacts.shelve(catalogue_of(find(call.wanted)), [subject.service.name], state)
    names = () if deployment is None else deployment.roles
    return HostWorld(subject, Roles(facility, names, state, places.cache(), store, progress))


WORLDS: "dict[str, Callable[[Call, Facility, Subject, Store, Progress], World]]" = {"role": _hosts}
"""What carries rollouts out, by kind of release. None does in Kubernetes yet: see src/README.md, known weaknesses."""


async def _through(world: "World", work: "Callable[[World], Awaitable[T]]") -> T:
    """What came of work in a world, which hangs up at its end."""
    try:
        return await work(world)
    finally:
        await world.close()


@contextmanager
def _store(facility: str, *, made: bool = False) -> "Iterator[Store]":
    """The facility's store; made if it is not there, or else the complaint that nothing was ever rolled out."""
    from pachon.store.database import open_if_there, open_store

    where = places.store(places.state(facility))
    store = open_store(where) if made else open_if_there(where)
    if store is None:
        raise _none_yet()
    try:
        yield store
    finally:
        store.close()


def _none_yet() -> UsageError:
    return UsageError("no rollout was ever begun here", cure="'pachon rollout start SERVICE VERSION' begins one")
