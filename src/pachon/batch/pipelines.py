"""Pipelines as released: their files beside the software of workers, and the digest that a version stands for."""

import hashlib
from pathlib import Path

from pachon import places
from pachon.batch.campaign import Pipeline, Task
from pachon.checks.spelling import did_you_mean
from pachon.definition.campaigns import WrittenPipeline, WrittenTask
from pachon.definition.documents import read_document
from pachon.definition.sources import Typed, shown_path, typed
from pachon.errors import Complaint

PIPELINES = places.CHECKOUT / "playbooks" / "roles" / "slurm_compute" / "files" / "pipelines"


def known(folder: Path = PIPELINES) -> list[str]:
    """Names of the pipelines that there are."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_pipeline(name: str, folder: Path = PIPELINES) -> tuple[Pipeline | None, tuple[Complaint, ...]]:
    """The pipeline of that name, or everything that is wrong with its file."""
    path = folder / f"{name}.yaml"
    source = typed(read_document(path, f"{shown_path(folder)}/{path.name}"), WrittenPipeline)
    written = source.value
    if written is None or source.document.complaints:
        return None, tuple(source.document.complaints)
    found = digest_of(folder / name)
    if written.name != name:
        _complain(source, "name", wrong=f"the file is that of {name!r}", right=f"write {name}")
    if written.software != found:
        wrong = f"the modules in {name}/ are not those that version {written.version} was released with"
        _complain(source, "software", wrong=wrong, right=f"raise the version and write software: {found}")
    earlier: dict[str, WrittenTask] = {}
    for index, task in enumerate(written.tasks):
        _check_task(source, index, task, earlier)
        earlier[task.name] = task
    complaints = tuple(source.document.complaints)
    return (None if complaints else _resolved(written)), complaints


def digest_of(folder: Path) -> str:
    """SHA-256 over names and content of the modules in a folder; ``run_quanta.py`` computes the same on a worker."""
    seen = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        seen.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return seen.hexdigest()


def _complain(source: Typed[WrittenPipeline], *location: str | int, wrong: str, right: str) -> None:
    source.document.complain(source.document.line(location), wrong, right=right)


def _check_task(source: Typed[WrittenPipeline], index: int, task: WrittenTask, earlier: dict[str, WrittenTask]) -> None:
    if task.name in earlier:
        _complain(source, "tasks", index, "name", wrong=f"the task {task.name!r} stands twice", right="rename one")
    if task.per == "exposure" and task.exposures is None:
        wrong = f"the task {task.name} is done for each exposure, of no kind"
        _complain(source, "tasks", index, "per", wrong=wrong, right="add exposures: with their kind")
    if task.per == "detector" and task.exposures is not None:
        wrong = f"the task {task.name} is done once for each detector and yet names a kind of exposures"
        _complain(source, "tasks", index, "exposures", wrong=wrong, right="leave exposures out, or write per: exposure")
    steps = list(dict.fromkeys(other.step for other in earlier.values()))
    if task.step in steps[:-1]:
        wrong = f"the step {task.step} goes on after {steps[-1]} has begun"
        _complain(source, "tasks", index, "step", wrong=wrong, right="put the tasks of one step together")
    for place, need in enumerate(task.needs):
        if need not in earlier:
            near = did_you_mean(need, earlier) or "name one that stands before it"
            wrong = f"the task {task.name} needs {need!r}, and no task before it is called so"
            _complain(source, "tasks", index, "needs", place, wrong=wrong, right=near)


def _resolved(written: WrittenPipeline) -> Pipeline:
    return Pipeline(
        name=written.name,
        version=written.version,
        title=written.title,
        software=written.software,
        walltime_minutes=written.walltime_minutes,
        memory_mib=written.memory_mib,
        tasks=tuple(
            Task(**task.model_dump(exclude={"exposures"}), exposures=task.exposures or "") for task in written.tasks
        ),
    )
