"""A campaign at one site: look, decide, put on disk, submit; again until everything there is settled. The thin edge.

A site that does not answer is *unknown since* a moment; nothing is decided about it until it answers again.
"""

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from pachon.batch import orders, products
from pachon.batch.campaign import Campaign, Key, Workplace
from pachon.batch.deciding import Decision, Seen, SiteRecord, Work, decide, live, questions, submitted
from pachon.batch.packing import Job
from pachon.drivers.slurm import Slurm
from pachon.drivers.ssh import Host
from pachon.drivers.staging import Staging
from pachon.errors import PachonError, RefusedError
from pachon.model.campaigns import SETTLED, Incident, IncidentKind, QuantumState, SiteCondition, SiteNote
from pachon.progress import Event, EventState, Progress
from pachon.store.campaigns import CampaignRecord

STAGE = "campaign"
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 2.5
PAUSE_GROWTH = 1.25
CLOSING_SECONDS = 2.0

OpenHost = Callable[[], Awaitable[Host]]


class Door:
    """An open connection to one host; opened again after it broke."""

    def __init__(self, open_host: OpenHost) -> None:
        self._open_host = open_host
        self._host: Host | None = None

    async def open(self) -> Host:
        """The connection."""
        if self._host is None or not self._host.is_open:
            self._host = await self._open_host()
        return self._host

    async def shut(self) -> None:
        """Have the next one opened anew: what broke once may look open for a long time."""
        host, self._host = self._host, None
        if host is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(host.close(), CLOSING_SECONDS)


@dataclass
class SiteWork:
    """The work at one site."""

    campaign: Campaign
    place: Workplace
    record: CampaignRecord
    controller: Door
    storage: Door
    progress: Progress
    patience: timedelta
    """How long the site may be unknown, or nothing may move there, before it is left as it is."""
    note: SiteNote
    """As the last run left it: a site that was unknown then is so since then."""
    failures: dict[tuple[Key, str], str] = field(default_factory=dict)
    """What workers said."""
    moved_at: float = field(default_factory=time.monotonic)
    answered_at: datetime | None = None
    """When the site last told of itself."""

    def __post_init__(self) -> None:
        """Begin with what is known."""
        site = self.place.site
        if self.note.condition != "unknown":
            self.note = SiteNote(site, "waiting", datetime.now(UTC))
        self.address = f"{site}/campaign/{self.campaign.name}"
        self.work = Work(site, self.campaign.at(site), self.campaign.quanta_per_job, self.campaign.tries)
        self.known = SiteRecord(self.record.quanta(site), self.record.attempts(site))
        prefix = orders.name_prefix(self.campaign.name)
        self.slurm = Slurm(site, self.controller.open, prefix=prefix)
        self.staging = self._new_staging()
        self.fresh = True

    async def carry_out(self) -> SiteNote:
        """How the site is when there is nothing more to do there, or nothing more can be done now."""
        pause = FIRST_PAUSE_SECONDS
        self._tell("started", f"{len(self.work.quanta)} quanta, {len(self.place.workers)} workers")
        while True:
            try:
                decision = await self._turn()
            except RefusedError as error:
                self._note("stopped", error.message, kind="refused")
                self._tell("failed", str(error))
                return self.note
            except PachonError as error:
                await self._lost_sight(error)
                if self._waited_long_enough():
                    self._tell("failed", f"unknown since {self.note.since:%H:%M:%S} UTC: {self.note.reason}")
                    return self.note
            else:
                if decision.finished:
                    return self._finished()
                if decision.moved:
                    self.moved_at, pause = time.monotonic(), FIRST_PAUSE_SECONDS
                elif self._waited_long_enough() and not self._is_running():
                    self._note("stopped", "nothing has moved for a long time", kind="unreachable")
                    self._tell("failed", "nothing moves: its jobs wait and no worker takes them")
                    return self.note
            await asyncio.sleep(pause)
            pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)

    async def _turn(self) -> Decision:
        """One look and what follows from it."""
        tasks = await self.slurm.tasks()
        asked = questions(self.known, tasks)
        found: dict[Key, dict[str, object]] = {}
        if asked.store or self.fresh:
            found, failures = products.read(await self.staging.news())
            self.failures |= failures
        accounts = await self.slurm.accounts(asked.accounts)
        seen = Seen(tasks, found, self.failures, accounts, whole=self.fresh)
        decision = decide(self.work, self.known, seen, now=datetime.now(UTC))
        self._in_sight()
        self._keep(decision)
        for step, jobs in decision.submit:
            await self._submit(step, jobs)
        if decision.lift:
            await self.slurm.start_now(decision.lift)
        self.fresh = False
        return decision

    def _keep(self, decision: Decision) -> None:
        self.record.keep(quanta=decision.quanta, attempts=decision.attempts, incidents=decision.incidents)
        changed = {(attempt.token, attempt.index): attempt for attempt in decision.attempts}
        attempts = (changed.get((each.token, each.index), each) for each in self.known.attempts)
        quanta = {**self.known.quanta, **{quantum.key: quantum for quantum in decision.quanta}}
        self.known = SiteRecord(quanta, live(attempts))
        for incident in decision.incidents:
            self._tell("moving", f"{incident.kind} {incident.host}: {incident.message}")
        if decision.moved:
            self._tell("moving", self._summary(), fraction=self._fraction())

    async def _submit(self, step: str, jobs: tuple[Job, ...]) -> None:
        """Intent on disk, then Slurm, then what Slurm said on disk."""
        token = secrets.token_hex(6)
        attempts = orders.attempts_of(token, step, jobs)
        batch = orders.batch_of(self.campaign, self.place, token=token, step=step, jobs=jobs)
        quanta = submitted(self.known, attempts)
        self.record.intend(self.place.site, attempts, quanta)
        taken = {**self.known.quanta, **{quantum.key: quantum for quantum in quanta}}
        self.known = SiteRecord(taken, (*self.known.attempts, *attempts))
        job_id = await self.slurm.submit(batch)
        numbered = tuple(replace(attempt, job_id=job_id) for attempt in attempts)
        self.record.keep(attempts=numbered)
        others = (attempt for attempt in self.known.attempts if attempt.token != token)
        self.known = SiteRecord(taken, (*others, *numbered))
        self._tell("moving", f"{step}: job {job_id}, {len(jobs)} tasks, {sum(map(len, jobs))} quanta")

    def _in_sight(self) -> None:
        self.answered_at = datetime.now(UTC)
        if self.note.condition == "unknown":
            away = datetime.now(UTC) - self.note.since
            self.moved_at = time.monotonic()
            self._note("working", f"was unknown for {away.total_seconds():.0f} s", kind="back")
            self._tell("moving", "answers again")
        elif self.note.condition == "waiting":
            self._note("working", "")

    async def _lost_sight(self, error: PachonError) -> None:
        """The site does not answer: since when, and why; what was open is opened anew."""
        await asyncio.gather(self.controller.shut(), self.storage.shut())
        self.staging, self.fresh = self._new_staging(), True
        if self.note.condition != "unknown":
            self._note("unknown", error.message, kind="unreachable", since=self.answered_at)
            self._tell("moving", f"unknown since {self.note.since:%H:%M:%S} UTC: {error.message}")

    def _finished(self) -> SiteNote:
        complete = set(self._counts()) == {QuantumState.DONE}
        self._note("done" if complete else "partial", self._summary())
        self._tell("done" if complete else "failed", self._summary(), fraction=1.0)
        return self.note

    def _note(
        self,
        condition: SiteCondition,
        reason: str,
        *,
        kind: IncidentKind | None = None,
        since: datetime | None = None,
    ) -> None:
        now = datetime.now(UTC)
        self.note = SiteNote(self.place.site, condition, since or now, reason)
        self.record.note(self.note)
        if kind is not None:
            self.record.keep(incidents=[Incident(now, self.place.site, kind, reason)])

    def _new_staging(self) -> Staging:
        return Staging(self.storage.open, folder=self.place.folder, campaign=self.campaign.name)

    def _waited_long_enough(self) -> bool:
        return time.monotonic() - self.moved_at > self.patience.total_seconds()

    def _is_running(self) -> bool:
        return any(attempt.state == "running" for attempt in self.known.attempts)

    def _counts(self) -> Counter[QuantumState]:
        return Counter(quantum.state for quantum in self.known.quanta.values())

    def _fraction(self) -> float:
        settled = sum(number for state, number in self._counts().items() if state in SETTLED)
        return settled / max(1, len(self.known.quanta))

    def _summary(self) -> str:
        return ", ".join(f"{number} {state}" for state, number in sorted(self._counts().items()))

    def _tell(self, state: EventState, message: str, *, fraction: float | None = None) -> None:
        self.progress(Event(STAGE, self.address, state, message, fraction))
