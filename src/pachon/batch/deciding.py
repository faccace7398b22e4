"""What is to be done next at one site, from our record and from what was just seen. Pure.

What counts is the product in the store: a quantum is done when its product is there, whatever Slurm says, and is not
done when it is not. Slurm's answers only tell whether somebody is still at it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pachon.batch.campaign import Key, Quantum
from pachon.batch.packing import Job, pack
from pachon.drivers.slurm import Accounted, JobState, Task
from pachon.model.campaigns import (
    LIVE,
    SETTLED,
    Attempt,
    AttemptState,
    Incident,
    IncidentKind,
    QuantumRecord,
    QuantumState,
)

MOST_ATTEMPTS = 12
"""After so many attempts a quantum is given up even if none of them was its own fault."""
DIED = "NODE_FAIL"
WAITS_AFTER_REQUEUE = "BeginTime"
LOG = "/tmp/pachon-{job}_{index}.log"


@dataclass(frozen=True)
class Work:
    """What is to be done at a site, in order."""

    site: str
    quanta: tuple[Quantum, ...]
    quanta_per_job: int
    tries: int

    @property
    def steps(self) -> tuple[str, ...]:
        """Steps in their order."""
        return tuple(dict.fromkeys(quantum.step for quantum in self.quanta))


@dataclass(frozen=True)
class SiteRecord:
    """What we know of a site: every quantum, and the attempts that have not ended."""

    quanta: Mapping[Key, QuantumRecord]
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True)
class Seen:
    """What was just seen at a site: first Slurm's tasks, then the store."""

    tasks: tuple[Task, ...]
    products: Mapping[Key, Mapping[str, Any]]
    """Records of products that came into the store; more may be there, unless ``whole``."""
    failures: Mapping[tuple[Key, str], str] = field(default_factory=dict)
    """What workers said, by quantum and token."""
    accounts: tuple[Accounted, ...] | None = ()
    whole: bool = False
    """Whether ``products`` are all that the store has."""


@dataclass(frozen=True)
class Questions:
    """What has to be asked besides Slurm's list before a decision can be made."""

    store: bool
    """Whether the site's store is to be looked at."""
    accounts: tuple[int, ...]
    """Arrays that accounting is to be asked about."""


@dataclass(frozen=True)
class Decision:
    """What changed, and what is to be done."""

    quanta: tuple[QuantumRecord, ...]
    attempts: tuple[Attempt, ...]
    incidents: tuple[Incident, ...]
    submit: tuple[tuple[str, tuple[Job, ...]], ...]
    """Arrays to be submitted: step and jobs."""
    lift: tuple[Task, ...]
    """Requeued tasks that are made to wait for nothing."""
    finished: bool
    """Every quantum is done, failed or blocked."""

    @property
    def moved(self) -> bool:
        """Whether anything is new or to be done."""
        return bool(self.quanta or self.attempts or self.submit)


def questions(record: SiteRecord, tasks: Sequence[Task]) -> Questions:
    """What has to be asked now that Slurm has told of its tasks."""
    known = {(task.token, task.index): task for task in tasks}
    store = False
    arrays: set[int] = set()
    for attempt in record.attempts:
        task = known.get((attempt.token, attempt.index))
        ended = task is None or task.state not in (JobState.PENDING, JobState.RUNNING)
        store = store or ended
        job_id = task.job_id if task is not None else attempt.job_id
        if job_id is not None and (task is None or task.restarts > attempt.restarts):
            arrays.add(job_id)
    return Questions(store=store, accounts=tuple(sorted(arrays)))


def decide(work: Work, record: SiteRecord, seen: Seen, *, now: datetime) -> Decision:
    """What changed at the site and what is to be done there."""
    turn = _Turn(work, record, seen, now)
    turn.take_products()
    for attempt in record.attempts:
        turn.follow(attempt)
    turn.block()
    submit = turn.submissions()
    return Decision(
        quanta=tuple(after for key, after in turn.quanta.items() if after != record.quanta[key]),
        attempts=tuple(after for before, after in zip(record.attempts, turn.attempts, strict=True) if after != before),
        incidents=turn.told(),
        submit=submit,
        lift=tuple(
            task
            for task in seen.tasks
            if task.state is JobState.PENDING
            and task.restarts
            and (task.reason == WAITS_AFTER_REQUEUE or "held" in task.reason.lower())
        ),
        finished=all(quantum.state in SETTLED for quantum in turn.quanta.values()),
    )


class _Turn:
    """One decision as it comes together."""

    def __init__(self, work: Work, record: SiteRecord, seen: Seen, now: datetime) -> None:
        self.work = work
        self.seen = seen
        self.now = now
        self.quanta: dict[Key, QuantumRecord] = dict(record.quanta)
        self.attempts: list[Attempt] = []
        self._needed = {quantum.key: quantum.needed for quantum in work.quanta}
        self._tasks = {(task.token, task.index): task for task in seen.tasks}
        self._incidents: dict[tuple[IncidentKind, str, str], list[Key]] = {}

    def take_products(self) -> None:
        """What is in the store is done, and what is not there any more is not."""
        for key, product in self.seen.products.items():
            if key in self.quanta and self.quanta[key].state is not QuantumState.DONE:
                done = replace(self.quanta[key], state=QuantumState.DONE, product=product, message="")
                self.quanta[key] = done
        if not self.seen.whole:
            return
        for key, quantum in self.quanta.items():
            if quantum.state is QuantumState.DONE and key not in self.seen.products:
                self.quanta[key] = replace(quantum, state=QuantumState.WAITING, product=None)
                self._tell("product lost", "it was made, is gone from the store, and is made again", (key,), host="")

    def follow(self, attempt: Attempt) -> None:
        """Take in what became of one attempt."""
        task = self._tasks.get((attempt.token, attempt.index))
        left = tuple(key for key in attempt.keys if self._is_left(key))
        if task is not None:
            attempt = self._noted(attempt, task, left)
        if not left:
            self._keep(attempt, AttemptState.ENDED)
            return
        word, state = (task.word, task.state) if task is not None else self._accounted(attempt)
        match state:
            case JobState.PENDING:
                self._keep(attempt, AttemptState.QUEUED)
            case JobState.RUNNING:
                self._keep(attempt, AttemptState.RUNNING)
            case JobState.DONE | JobState.FAILED:
                self._fail(attempt, left, word)
            case JobState.TAKEN_AWAY:
                kind: IncidentKind = "worker lost" if word == DIED else "taken away"
                self._give_back(attempt, left, AttemptState.TAKEN_AWAY, kind, f"Slurm ended its job: {word}")
            case None if attempt.job_id is None:
                reason = "a submission that was begun never reached Slurm"
                self._give_back(attempt, left, AttemptState.NEVER_SENT, "never sent", reason)
            case None:
                reason = f"Slurm took job {attempt.job_id} and then forgot it"
                self._give_back(attempt, left, AttemptState.FORGOTTEN, "forgotten", reason)

    def _is_left(self, key: Key) -> bool:
        """Whether an attempt still owes it: quanta that the campaign has dropped are owed by nobody."""
        return key in self.quanta and self.quanta[key].state not in SETTLED

    def _noted(self, attempt: Attempt, task: Task, left: tuple[Key, ...]) -> Attempt:
        """The attempt with what Slurm says of it; a restart is told of."""
        if task.restarts > attempt.restarts and left:
            runs = [run for run in self._runs(attempt) if run.state is JobState.TAKEN_AWAY]
            host = runs[-1].host if runs and runs[-1].host else attempt.host
            died = any(run.word == DIED for run in runs)
            kind: IncidentKind = "worker lost" if died else "taken away"
            self._tell(kind, "its work was queued again and is done elsewhere", left, host=host)
        host = task.host or attempt.host
        return replace(attempt, job_id=task.job_id, host=host, restarts=max(task.restarts, attempt.restarts))

    def _runs(self, attempt: Attempt) -> list[Accounted]:
        return [run for run in self.seen.accounts or () if (run.token, run.index) == (attempt.token, attempt.index)]

    def _accounted(self, attempt: Attempt) -> tuple[str, JobState | None]:
        """What accounting knows of an attempt that the controller does not know: only an end counts."""
        runs = self._runs(attempt)
        if not runs or runs[-1].state in (JobState.PENDING, JobState.RUNNING):
            return "", None
        return runs[-1].word, runs[-1].state

    def _fail(self, attempt: Attempt, left: tuple[Key, ...], word: str) -> None:
        for key in left:
            before = self.quanta[key]
            if any(needed in left for needed in self._needed[key]):
                self.quanta[key] = replace(before, state=QuantumState.WAITING)
                continue
            ended = "its job ended and left no product" if word == "COMPLETED" else f"its job ended: {word}"
            ended += f" (its log is {LOG.format(job=attempt.job_id, index=attempt.index)} on the worker)"
            message = self.seen.failures.get((key, attempt.token)) or ended
            failures = before.failures + 1
            given_up = failures >= self.work.tries
            state = QuantumState.FAILED if given_up else QuantumState.WAITING
            self.quanta[key] = replace(before, state=state, failures=failures, message=message)
            self._tell("given up" if given_up else "failed", message, (key,), host=attempt.host)
        self._keep(attempt, AttemptState.FAILED, f"ended: {word}")

    def _give_back(
        self, attempt: Attempt, left: tuple[Key, ...], state: AttemptState, kind: IncidentKind, reason: str
    ) -> None:
        """Let the quanta be done by another attempt."""
        for key in left:
            before = self.quanta[key]
            worn_out = before.attempts >= MOST_ATTEMPTS
            after = QuantumState.FAILED if worn_out else QuantumState.WAITING
            self.quanta[key] = replace(before, state=after, message=reason if worn_out else before.message)
        self._tell(kind, f"{reason}; its work is submitted again", left, host=attempt.host)
        self._keep(attempt, state, reason)

    def _keep(self, attempt: Attempt, state: AttemptState, message: str = "") -> None:
        self.attempts.append(replace(attempt, state=state, message=message))

    def _tell(self, kind: IncidentKind, message: str, keys: Iterable[Key], *, host: str) -> None:
        self._incidents.setdefault((kind, host, message), []).extend(keys)

    def told(self) -> tuple[Incident, ...]:
        """Incidents, one for all quanta that met with the same."""
        return tuple(
            Incident(at=self.now, site=self.work.site, kind=kind, host=host, message=message, keys=tuple(keys))
            for (kind, host, message), keys in self._incidents.items()
        )

    def block(self) -> None:
        """What needs something that was given up is blocked."""
        lost = {key for key, quantum in self.quanta.items() if quantum.state in SETTLED - {QuantumState.DONE}}
        for quantum in _in_order(self.work):
            before = self.quanta[quantum.key]
            broken = [key for key in quantum.needed if key in lost]
            if broken and before.state is QuantumState.WAITING:
                message = f"needs what was given up: {', '.join(broken)}"
                self.quanta[quantum.key] = replace(before, state=QuantumState.BLOCKED, message=message)
                lost.add(quantum.key)

    def submissions(self) -> tuple[tuple[str, tuple[Job, ...]], ...]:
        """Arrays of what can be done now: of the first step that is not settled here."""
        for step in self.work.steps:
            own = [quantum for quantum in _in_order(self.work) if quantum.step == step]
            if all(self.quanta[quantum.key].state in SETTLED for quantum in own):
                continue
            there = {key for key, quantum in self.quanta.items() if quantum.state is QuantumState.DONE}
            ready: list[Quantum] = []
            for quantum in own:
                if self.quanta[quantum.key].state is QuantumState.WAITING and there.issuperset(quantum.needed):
                    ready.append(quantum)
                    there.add(quantum.key)
            rank = {quantum.key: place for place, quantum in enumerate(self.work.quanta)}
            ready.sort(key=lambda quantum: rank[quantum.key])
            return tuple((step, jobs) for jobs in pack(ready, quanta_per_job=self.work.quanta_per_job))
        return ()


def _in_order(work: Work) -> list[Quantum]:
    """The quanta, each behind those that it needs."""
    placed: dict[Key, Quantum] = {}
    by_key = {quantum.key: quantum for quantum in work.quanta}

    def place(quantum: Quantum) -> None:
        if quantum.key in placed:
            return
        for key in quantum.needed:
            if key in by_key:
                place(by_key[key])
        placed[quantum.key] = quantum

    for quantum in work.quanta:
        place(quantum)
    return list(placed.values())


def submitted(record: SiteRecord, attempts: Sequence[Attempt]) -> tuple[QuantumRecord, ...]:
    """The quanta of new attempts, as they are from then on."""
    return tuple(
        replace(before, state=QuantumState.SUBMITTED, attempts=before.attempts + 1)
        for attempt in attempts
        for before in (record.quanta[key] for key in attempt.keys)
    )


def live(attempts: Iterable[Attempt]) -> tuple[Attempt, ...]:
    """Those that have not ended."""
    return tuple(attempt for attempt in attempts if attempt.state in LIVE)
