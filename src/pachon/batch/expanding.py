"""From a pipeline and a coverage to quanta, and from detectors to sites: pure, and the same every time."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pachon.batch.campaign import Campaign, Coverage, DataId, Key, Pipeline, Quantum, Share, Task, key_of

Dimension = Literal["detector", "exposure"]


def deal(detectors: Sequence[int], sites: Sequence[str], pinned: Mapping[str, Sequence[int]]) -> tuple[Share, ...]:
    """Detectors of each site: those that are pinned there, and of the others an even part, neighbours together."""
    fixed = {number for numbers in pinned.values() for number in numbers}
    free = [number for number in sorted(detectors) if number not in fixed]
    names = [*sites, *(site for site in pinned if site not in sites)]
    dealt = {name: list(pinned.get(name, ())) for name in names}
    for place, site in enumerate(sites):
        first, last = place * len(free) // len(sites), (place + 1) * len(free) // len(sites)
        dealt[site] += free[first:last]
    return tuple(Share(site=site, detectors=tuple(sorted(numbers))) for site, numbers in dealt.items() if numbers)


def count(pipeline: Pipeline, coverage: Coverage) -> int:
    """How many quanta there will be, without making them."""
    detectors = sum(len(share.detectors) for share in coverage.shares)
    per_detector = sum(len(coverage.exposures[task.exposures]) if task.exposures else 1 for task in pipeline.tasks)
    return detectors * per_detector


def expand(pipeline: Pipeline, coverage: Coverage, *, seed: int, order: Sequence[Dimension]) -> tuple[Quantum, ...]:
    """All quanta, step by step; inside a step by ``order``, then as the pipeline has its tasks.

    A task reads the products of its own detector; where both it and what it needs are done for each exposure of one
    kind, of its own exposure only.
    """
    quanta: list[Quantum] = []
    for share in coverage.shares:
        for detector in share.detectors:
            made: dict[str, list[Quantum]] = {}
            for task in pipeline.tasks:
                made[task.name] = [
                    _quantum(pipeline, task, data_id, site=share.site, seed=seed, made=made)
                    for data_id in _data_ids(task, detector, coverage)
                ]
            quanta += [quantum for own in made.values() for quantum in own]
    steps = {step: place for place, step in enumerate(pipeline.steps)}
    rank = {task.name: place for place, task in enumerate(pipeline.tasks)}

    def place(quantum: Quantum) -> tuple[int, ...]:
        wanted = [quantum.data_id.get(name, -1) for name in dict.fromkeys([*order, "detector", "exposure"])]
        return (steps[quantum.step], *wanted, rank[quantum.task])

    return tuple(sorted(quanta, key=place))


def _data_ids(task: Task, detector: int, coverage: Coverage) -> list[DataId]:
    if task.per == "detector":
        return [{"detector": detector}]
    return [{"detector": detector, "exposure": number} for number in coverage.exposures[task.exposures]]


def _quantum(
    pipeline: Pipeline, task: Task, data_id: DataId, *, site: str, seed: int, made: Mapping[str, Sequence[Quantum]]
) -> Quantum:
    inputs = {name: _read_by(task, data_id, pipeline.task_by_name[name], made[name]) for name in task.needs}
    return Quantum(
        key=key_of(pipeline, task, data_id, seed=seed, inputs=inputs),
        site=site,
        step=task.step,
        task=task.name,
        data_id=data_id,
        inputs=inputs,
    )


def _read_by(task: Task, data_id: DataId, needed: Task, made: Sequence[Quantum]) -> tuple[Key, ...]:
    alike = task.per == needed.per == "exposure" and task.exposures == needed.exposures
    return tuple(quantum.key for quantum in made if not alike or quantum.data_id == data_id)


def at_places(campaign: Campaign, site_by_key: Mapping[Key, str]) -> Campaign:
    """The campaign with every detector of which something is done at the site where it was done.

    Products do not move between sites, so what follows from them is made there as well; a site that can no longer do
    batch work does not count.
    """
    able = {place.site for place in campaign.workplaces}
    moved: dict[int, str] = {}
    for quantum in campaign.quanta:
        site = site_by_key.get(quantum.key, quantum.site)
        if site != quantum.site and site in able:
            moved[quantum.data_id["detector"]] = site
    if not moved:
        return campaign
    quanta = tuple(
        quantum.model_copy(update={"site": moved.get(quantum.data_id["detector"], quantum.site)})
        for quantum in campaign.quanta
    )
    names = dict.fromkeys([*(share.site for share in campaign.coverage.shares), *moved.values()])
    detectors = {site: {each.data_id["detector"] for each in quanta if each.site == site} for site in names}
    shares = tuple(Share(site=site, detectors=tuple(sorted(detectors[site]))) for site in names if detectors[site])
    coverage = campaign.coverage.model_copy(update={"shares": shares})
    return campaign.model_copy(update={"quanta": quanta, "coverage": coverage})
