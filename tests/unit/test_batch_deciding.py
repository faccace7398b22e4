"""What is done next at a site: whatever Slurm forgets, kills or repeats, every product is made, and none is missed.

The Slurm here is a model at the edge of pure code; tests/e2e has the real one.
"""

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from pachon.batch.campaign import Coverage
from pachon.batch.deciding import Decision, Seen, SiteRecord, Work, decide, live, questions, submitted
from pachon.batch.expanding import deal, expand
from pachon.batch.orders import attempts_of
from pachon.batch.pipelines import read_pipeline
from pachon.drivers.slurm import Accounted, JobState, Task
from pachon.model.campaigns import SETTLED, Attempt, AttemptState, QuantumRecord, QuantumState

NOW = datetime(2026, 11, 28, tzinfo=UTC)
PIPELINE, _ = read_pipeline("calibration")
assert PIPELINE is not None
COVERAGE = Coverage(shares=deal([0, 1], ["base"], {}), exposures={"bias": (1, 2, 3), "flat": (4, 5)})
QUANTA = expand(PIPELINE, COVERAGE, seed=0, order=("detector",))
WORK = Work("base", QUANTA, quanta_per_job=4, tries=3)
EMPTY = SiteRecord({quantum.key: QuantumRecord(quantum.key) for quantum in QUANTA}, ())


@dataclass
class Site:
    """A site as it might be: its Slurm, its store, and our record of it."""

    chance: random.Random
    known: SiteRecord = EMPTY
    tasks: dict[tuple[str, int], Task] = field(default_factory=dict)
    keys: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    store: dict[str, dict[str, str]] = field(default_factory=dict)
    accounts: list[Accounted] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    """Keys in the order in which they came into the store."""
    numbers: int = 0
    incidents: list[str] = field(default_factory=list)

    def turn(self) -> Decision:
        """One look and what follows."""
        tasks = tuple(self.tasks.values())
        asked = questions(self.known, tasks)
        products = dict(self.store) if asked.store or not self.known.attempts else {}
        accounts = tuple(run for run in self.accounts if run.job_id in asked.accounts)
        decision = decide(WORK, self.known, Seen(tasks, products, {}, accounts), now=NOW)
        changed = {(each.token, each.index): each for each in decision.attempts}
        attempts = live(changed.get((each.token, each.index), each) for each in self.known.attempts)
        quanta = {**self.known.quanta, **{quantum.key: quantum for quantum in decision.quanta}}
        self.known = SiteRecord(quanta, attempts)
        self.incidents += [incident.kind for incident in decision.incidents]
        for task in decision.lift:
            self.tasks[task.token, task.index] = replace(task, reason="None")
        return decision

    def submit(self, decision: Decision, *, dies: str = "") -> None:
        """Ask for arrays; ``dies``: pachon is killed ``before`` Slurm is asked, or ``after`` it has taken the array."""
        for step, jobs in decision.submit:
            token = f"{self.chance.getrandbits(48):012x}"
            attempts = attempts_of(token, step, jobs)
            taken = {**self.known.quanta, **{each.key: each for each in submitted(self.known, attempts)}}
            job_id: int | None = None
            if dies != "before":
                self.numbers += 1
                for attempt in attempts:
                    self.tasks[token, attempt.index] = _task(attempt, self.numbers)
                    self.keys[token, attempt.index] = attempt.keys
                job_id = None if dies == "after" else self.numbers
            numbered = tuple(replace(attempt, job_id=job_id) for attempt in attempts)
            self.known = SiteRecord(taken, (*self.known.attempts, *numbered))

    def go_on(self) -> None:
        """Something happens to one task that has not ended."""
        open_tasks = [task for task in self.tasks.values() if task.state in (JobState.PENDING, JobState.RUNNING)]
        if not open_tasks:
            return
        task = self.chance.choice(open_tasks)
        place = (task.token, task.index)
        match self.chance.choice(["run", "end", "end", "die", "forget", "cancel", "break"]):
            case "run":
                self.tasks[place] = replace(task, state=JobState.RUNNING, host="w1")
            case "end":
                self._work(place, len(self.keys[place]))
                self.tasks[place] = replace(task, state=JobState.DONE, word="COMPLETED", host="w1")
            case "die":
                self._work(place, self.chance.randrange(len(self.keys[place])))
                lost = Accounted(task.token, task.index, task.job_id, JobState.TAKEN_AWAY, "NODE_FAIL", "w1", 1)
                self.accounts.append(lost)
                again = replace(task, state=JobState.PENDING, host="", reason="BeginTime", restarts=task.restarts + 1)
                self.tasks[place] = again
            case "forget":
                self._work(place, self.chance.randrange(len(self.keys[place]) + 1))
                gone = [each for each in self.tasks if each[0] == task.token]
                for each in gone:
                    del self.tasks[each]
                self.numbers = max(0, task.job_id - 1)  # and its number is given out again
            case "cancel":
                self.tasks[place] = replace(task, state=JobState.TAKEN_AWAY, word="CANCELLED")
            case "break":
                self._work(place, self.chance.randrange(len(self.keys[place])))
                self.tasks[place] = replace(task, state=JobState.FAILED, word="FAILED")

    def _work(self, place: tuple[str, int], most: int) -> None:
        """The task makes its first products, unless they are there: what a worker does (``run_quanta.py``)."""
        for key in self.keys[place][:most]:
            needed = next(quantum for quantum in QUANTA if quantum.key == key).needed
            assert all(each in self.store for each in needed), "a job ran before its input was there"
            if key not in self.store:
                self.store[key] = {"key": key}
                self.made.append(key)


def _task(attempt: Attempt, number: int) -> Task:
    return Task(attempt.token, attempt.index, number, JobState.PENDING, "PENDING", "Resources", "", 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_every_product_is_made_once_whatever_happens_to_jobs_and_to_us(seed: int) -> None:
    site = Site(random.Random(seed))
    patient = Work("base", QUANTA, quanta_per_job=4, tries=10)
    assert patient.quanta == WORK.quanta
    for turn in range(4000):
        decision = site.turn()
        if decision.finished:
            break
        site.submit(decision, dies=site.chance.choice(["", "", "", "before", "after"]) if turn % 3 == 0 else "")
        site.go_on()
    assert all(quantum.state in SETTLED for quantum in site.known.quanta.values())
    done = {key for key, quantum in site.known.quanta.items() if quantum.state is QuantumState.DONE}
    assert done == set(site.store)
    assert len(site.made) == len(set(site.made))
    for quantum in QUANTA:
        match site.known.quanta[quantum.key].state:
            case QuantumState.FAILED:
                assert site.known.quanta[quantum.key].message
            case QuantumState.BLOCKED:
                states = {site.known.quanta[key].state for key in quantum.needed}
                assert states & {QuantumState.FAILED, QuantumState.BLOCKED}
            case state:
                assert state is QuantumState.DONE


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_no_quantum_is_in_two_jobs_that_have_not_ended(seed: int) -> None:
    site = Site(random.Random(seed))
    for _ in range(200):
        decision = site.turn()
        site.submit(decision)
        at_work = [key for attempt in site.known.attempts for key in attempt.keys]
        assert len(at_work) == len(set(at_work))
        waiting = {key for key, quantum in site.known.quanta.items() if quantum.state is QuantumState.SUBMITTED}
        assert waiting <= set(at_work)
        site.go_on()


def _begun() -> Site:
    site = Site(random.Random(1))
    site.submit(site.turn())
    return site


def test_a_step_waits_for_the_one_before_it() -> None:
    site = _begun()
    assert {attempt.step for attempt in site.known.attempts} == {"raw"}
    assert not site.turn().submit
    for place in list(site.tasks):
        site._work(place, 99)
        site.tasks[place] = replace(site.tasks[place], state=JobState.DONE, word="COMPLETED")
    ((step, jobs),) = site.turn().submit
    assert step == "combine"
    assert [len(job) for job in jobs] == [4, 4]


def test_a_job_that_slurm_forgot_is_submitted_again_and_told_of() -> None:
    site = _begun()
    site.tasks.clear()
    decision = site.turn()
    assert [incident.kind for incident in decision.incidents] == ["forgotten"]
    assert {attempt.state for attempt in decision.attempts} == {AttemptState.FORGOTTEN}
    assert len(decision.incidents[0].keys) == 10
    assert sum(len(job) for _, jobs in decision.submit for job in jobs) == 10


def test_a_number_given_out_again_is_not_taken_for_our_job() -> None:
    site = _begun()
    others = [replace(task, token="stranger") for task in site.tasks.values()]
    site.tasks = {("stranger", task.index): task for task in others}
    decision = site.turn()
    assert [incident.kind for incident in decision.incidents] == ["forgotten"]
    assert decision.submit


def test_a_forgotten_job_whose_products_came_is_not_submitted_again() -> None:
    site = _begun()
    for place in list(site.tasks):
        site._work(place, 99)
    site.tasks.clear()
    decision = site.turn()
    assert not decision.incidents
    assert {step for step, _ in decision.submit} == {"combine"}


def test_a_submission_that_was_cut_short_is_found_by_its_token() -> None:
    site = Site(random.Random(2))
    site.submit(site.turn(), dies="after")
    assert {attempt.job_id for attempt in site.known.attempts} == {None}
    decision = site.turn()
    assert not decision.submit
    assert {attempt.job_id for attempt in site.known.attempts} == {1}


def test_a_submission_that_never_reached_slurm_is_made_again() -> None:
    site = Site(random.Random(3))
    site.submit(site.turn(), dies="before")
    decision = site.turn()
    assert [incident.kind for incident in decision.incidents] == ["never sent"]
    assert decision.submit


def test_a_dead_worker_is_named_with_its_quanta_and_its_wait_is_lifted() -> None:
    site = _begun()
    place = next(iter(site.tasks))
    site.tasks[place] = replace(site.tasks[place], state=JobState.RUNNING, host="w7")
    site.turn()
    task = site.tasks[place]
    site.tasks[place] = replace(task, state=JobState.PENDING, reason="BeginTime", host="", restarts=1)
    assert questions(site.known, tuple(site.tasks.values())).accounts == (task.job_id,)
    site.accounts.append(Accounted(task.token, task.index, task.job_id, JobState.TAKEN_AWAY, "NODE_FAIL", "w7", 3))
    decision = site.turn()
    (incident,) = decision.incidents
    assert (incident.kind, incident.host, incident.at) == ("worker lost", "w7", NOW)
    assert incident.keys == site.keys[place]
    assert [lifted.address for lifted in decision.lift] == [task.address]
    assert not decision.submit
    assert not site.turn().incidents


def test_a_quantum_that_always_fails_is_given_up_and_what_needs_it_is_blocked() -> None:
    site = Site(random.Random(4))
    bad = next(quantum for quantum in QUANTA if quantum.task == "raw-bias" and quantum.data_id["detector"] == 1)
    for _ in range(50):
        decision = site.turn()
        if decision.finished:
            break
        site.submit(decision)
        for place, task in site.tasks.items():
            if task.state is JobState.PENDING:
                good = tuple(key for key in site.keys[place] if key != bad.key)
                failed = good != site.keys[place]
                site.keys[place] = good
                site._work(place, 99)
                state, word = (JobState.FAILED, "FAILED") if failed else (JobState.DONE, "COMPLETED")
                site.tasks[place] = replace(task, state=state, word=word)
    record = site.known.quanta[bad.key]
    assert (record.state, record.failures) == (QuantumState.FAILED, WORK.tries)
    blocked = {quantum.task for quantum in QUANTA if site.known.quanta[quantum.key].state is QuantumState.BLOCKED}
    assert blocked == {"bias", "flat", "bias-statistics", "flat-statistics"}
    done = {quantum.task for quantum in QUANTA if site.known.quanta[quantum.key].state is QuantumState.DONE}
    assert "flat-statistics" in done
    assert site.incidents.count("failed") == 2
    assert site.incidents.count("given up") == 1


def test_what_was_made_before_is_not_made_again() -> None:
    site = Site(random.Random(5))
    site.store = {quantum.key: {"key": quantum.key} for quantum in QUANTA}
    decision = site.turn()
    assert decision.finished
    assert not decision.submit


def test_a_product_that_is_gone_from_the_store_is_made_again() -> None:
    site = Site(random.Random(6))
    site.store = {quantum.key: {"key": quantum.key} for quantum in QUANTA}
    site.turn()
    lost = next(quantum for quantum in QUANTA if quantum.task == "flat")
    del site.store[lost.key]
    decision = decide(WORK, site.known, Seen((), site.store, whole=True), now=NOW)
    ((step, jobs),) = decision.submit
    assert (step, jobs) == ("combine", ((lost,),))
    assert [(incident.kind, incident.keys) for incident in decision.incidents] == [("product lost", (lost.key,))]
