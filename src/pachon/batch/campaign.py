"""The words of a campaign: pipeline, coverage, quantum. Frozen values; what they come to is computed elsewhere.

A quantum is one task of the pipeline for one data id. Its key is the digest of everything that its product depends
on, so equal keys are equal products, whoever made them and how often.
"""

from functools import cached_property
from typing import Literal

from pachon.model.base import Frozen
from pachon.model.facility import HostName, SiteName
from pachon.model.stamp import digest

Key = str
KEY_DIGITS = 32

DataId = dict[str, int]
"""``detector`` and, for a quantum of one exposure, ``exposure``."""


class Task(Frozen):
    """One task of a pipeline."""

    name: str
    title: str
    step: str
    call: str
    """Module and function of the pipeline's software."""
    per: Literal["exposure", "detector"]
    exposures: str
    """Kind of exposures; empty for a task per detector."""
    needs: tuple[str, ...]
    products: tuple[str, ...]
    """Ends of its products' file names."""
    settings: dict[str, int | float]
    deliver: bool


class Pipeline(Frozen):
    """A released version of a pipeline."""

    name: str
    version: str
    title: str
    software: str
    """Digest of its modules."""
    walltime_minutes: int
    memory_mib: int
    tasks: tuple[Task, ...]

    @cached_property
    def task_by_name(self) -> dict[str, Task]:
        """Tasks by name."""
        return {task.name: task for task in self.tasks}

    @property
    def steps(self) -> tuple[str, ...]:
        """Steps in the order in which they are carried out."""
        return tuple(dict.fromkeys(task.step for task in self.tasks))

    @property
    def exposure_kinds(self) -> tuple[str, ...]:
        """Kinds of exposures that it takes."""
        return tuple(dict.fromkeys(task.exposures for task in self.tasks if task.exposures))


class Share(Frozen):
    """The detectors that one site processes."""

    site: SiteName
    detectors: tuple[int, ...]


class Coverage(Frozen):
    """What is covered, dealt out to sites."""

    shares: tuple[Share, ...]
    exposures: dict[str, tuple[int, ...]]
    """Numbers by kind."""

    @property
    def detectors(self) -> tuple[int, ...]:
        """All detectors."""
        return tuple(sorted(number for share in self.shares for number in share.detectors))


class Workplace(Frozen):
    """Where a site does batch work."""

    site: SiteName
    controller: HostName
    storage: HostName
    storage_address: str
    """Where workers reach the storage host."""
    folder: str
    """Of campaigns, on the storage host."""
    workers: tuple[HostName, ...]


class Quantum(Frozen):
    """One task for one data id, at one site."""

    key: Key
    site: SiteName
    step: str
    task: str
    data_id: DataId
    inputs: dict[str, tuple[Key, ...]]
    """Keys of the quanta whose products it reads, by task, in the order of exposures."""

    @property
    def label(self) -> str:
        """For people: ``flat detector 2`` or ``raw-bias detector 2 exposure 5``."""
        return " ".join([self.task, *(f"{name} {number}" for name, number in self.data_id.items())])

    @property
    def needed(self) -> tuple[Key, ...]:
        """Keys of all its inputs."""
        return tuple(key for keys in self.inputs.values() for key in keys)


class Campaign(Frozen):
    """A campaign as it is to be carried out: all of its quanta are named."""

    name: str
    title: str
    facility: str
    file: str
    pipeline: Pipeline
    coverage: Coverage
    priority: int
    order: tuple[Literal["detector", "exposure"], ...]
    quanta_per_job: int
    tries: int
    seed: int
    with_up: bool
    workplaces: tuple[Workplace, ...]
    """Of all sites that can do batch work."""
    quanta: tuple[Quantum, ...]
    """In order: step by step, inside a step as ``order`` says."""

    @cached_property
    def digest(self) -> str:
        """Of all that was asked for; where it is done is no part of it."""
        where = {"workplaces", "quanta", "file", "facility", "coverage"}
        asked = self.model_dump(mode="json", exclude=where)
        return digest([asked, sorted(quantum.key for quantum in self.quanta)])

    def at(self, site: SiteName) -> tuple[Quantum, ...]:
        """Quanta of one site."""
        return tuple(quantum for quantum in self.quanta if quantum.site == site)


def key_of(pipeline: Pipeline, task: Task, data_id: DataId, *, seed: int, inputs: dict[str, tuple[Key, ...]]) -> Key:
    """The key of a quantum."""
    made_of = {
        "pipeline": [pipeline.name, pipeline.version, pipeline.software],
        "task": [task.name, task.call, task.settings, list(task.products)],
        "data_id": data_id,
        "seed": seed,
        "inputs": {name: list(keys) for name, keys in inputs.items()},
    }
    return digest(made_of)[:KEY_DIGITS]
