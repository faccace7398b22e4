"""Quanta and jobs: nothing is left out or done twice, and nothing runs before what it needs."""

from hypothesis import given
from hypothesis import strategies as st

from pachon import definition
from pachon.batch import reading
from pachon.batch.campaign import Coverage, Pipeline, Quantum
from pachon.batch.expanding import at_places, count, deal, expand
from pachon.batch.packing import pack
from pachon.batch.pipelines import read_pipeline

FOUND, _ = read_pipeline("calibration")
assert FOUND is not None
PIPELINE: Pipeline = FOUND

numbers = st.sets(st.integers(0, 60), min_size=1, max_size=12).map(sorted)
sites = st.lists(st.sampled_from(["base", "archive", "summit"]), min_size=1, unique=True)


@st.composite
def coverages(draw: st.DrawFn) -> Coverage:
    shares = deal(draw(numbers), draw(sites), {})
    return Coverage(shares=shares, exposures={"bias": tuple(draw(numbers)), "flat": tuple(draw(numbers))})


@given(numbers, sites, st.data())
def test_every_detector_is_dealt_to_one_site(detectors: list[int], names: list[str], data: st.DataObject) -> None:
    pinned = data.draw(st.lists(st.sampled_from(detectors), unique=True))
    shares = deal(detectors, names, {"base": pinned} if pinned else {})
    dealt = [number for share in shares for number in share.detectors]
    assert sorted(dealt) == sorted(detectors)
    at_base = {number for share in shares if share.site == "base" for number in share.detectors}
    assert at_base >= set(pinned)
    free = [len(set(share.detectors) - set(pinned)) for share in shares if share.site in names]
    assert not free or max(free) - min(free) <= 1 or len(free) < len(names)


@given(coverages(), st.permutations(["detector", "exposure"]), st.integers(0, 5))
def test_expansion_is_complete_and_every_key_is_one_product(coverage: Coverage, order: list[str], seed: int) -> None:
    quanta = expand(PIPELINE, coverage, seed=seed, order=order)  # type: ignore[arg-type]  # the strategy's words
    assert len(quanta) == count(PIPELINE, coverage) == len({quantum.key for quantum in quanta})
    by_key = {quantum.key: quantum for quantum in quanta}
    for quantum in quanta:
        assert set(quantum.inputs) == set(PIPELINE.task_by_name[quantum.task].needs)
        for key in quantum.needed:
            assert by_key[key].data_id["detector"] == quantum.data_id["detector"]
            assert by_key[key].site == quantum.site
            assert PIPELINE.steps.index(by_key[key].step) <= PIPELINE.steps.index(quantum.step)
    again = expand(PIPELINE, coverage, seed=seed + 1, order=("detector",))
    assert not {quantum.key for quantum in again} & by_key.keys()


@given(coverages(), st.integers(1, 30))
def test_jobs_hold_every_quantum_once_and_in_an_order_that_works(coverage: Coverage, quanta_per_job: int) -> None:
    quanta = expand(PIPELINE, coverage, seed=0, order=("exposure", "detector"))
    for step in PIPELINE.steps:
        own = [quantum for quantum in quanta if quantum.step == step]
        jobs = [job for array in pack(own, quanta_per_job=quanta_per_job) for job in array]
        packed = [quantum.key for job in jobs for quantum in job]
        assert sorted(packed) == sorted(quantum.key for quantum in own)
        for job in jobs:
            _is_in_order(job, {quantum.key for quantum in own})
            assert len(job) <= max(quanta_per_job, len(own) // max(1, len(coverage.detectors)))


def _is_in_order(job: tuple[Quantum, ...], own: set[str]) -> None:
    done: set[str] = set()
    for quantum in job:
        assert set(quantum.needed) & own <= done
        done.add(quantum.key)


def test_what_a_product_is_made_of_is_in_its_key() -> None:
    task = PIPELINE.tasks[0]
    dearer = task.model_copy(update={"settings": {**task.settings, "rows": 64}})
    changed = PIPELINE.model_copy(update={"tasks": (dearer, *PIPELINE.tasks[1:])})
    coverage = Coverage(shares=deal([0], ["base"], {}), exposures={"bias": (1, 2), "flat": (3,)})
    before = {(q.task, str(q.data_id)): q.key for q in expand(PIPELINE, coverage, seed=0, order=("detector",))}
    after = {(q.task, str(q.data_id)): q.key for q in expand(changed, coverage, seed=0, order=("detector",))}
    same = {name for name, _ in before.items() if before[name] == after[name]}
    assert {task for task, _ in same} == {"raw-flat"}


def test_a_detector_stays_where_something_of_it_is_done() -> None:
    facility = definition.load(definition.find("lab"))
    campaign = reading.load(reading.find(definition.find("lab"), "first-calibration"), facility)
    moved = next(quantum for quantum in campaign.quanta if quantum.data_id == {"detector": 0, "exposure": 1})
    after = at_places(campaign, {moved.key: "archive"})
    assert {quantum.site for quantum in after.quanta if quantum.data_id["detector"] == 0} == {"archive"}
    assert {share.site: share.detectors for share in after.coverage.shares} == {"base": (1,), "archive": (0, 2, 3)}
    assert after.digest == campaign.digest
    assert at_places(campaign, {moved.key: "gone"}) == campaign
