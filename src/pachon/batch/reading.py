"""From a campaign's file to a ``Campaign`` for a facility, or every complaint with path and line."""

from collections.abc import Sequence
from pathlib import Path

from pachon.batch.campaign import Campaign, Coverage, Pipeline
from pachon.batch.expanding import count, deal, expand
from pachon.batch.pipelines import PIPELINES, known, read_pipeline
from pachon.batch.workplaces import at_site, workplaces
from pachon.checks.spelling import did_you_mean
from pachon.definition.campaigns import WrittenCampaign, numbers_of
from pachon.definition.documents import Location, read_document
from pachon.definition.sources import Typed, shown_path, typed
from pachon.errors import Complaint, DefinitionError, UsageError
from pachon.model.facility import Facility

MOST_QUANTA = 200_000
Source = Typed[WrittenCampaign]


def load(path: Path, facility: Facility, *, pipelines: Path = PIPELINES) -> Campaign:
    """The campaign in a file, ready to be carried out at the facility.

    Raises:
        DefinitionError: with all complaints about it and about its pipeline.
    """
    campaign, complaints = examine(path, facility, pipelines=pipelines)
    if campaign is None:
        raise DefinitionError(complaints)
    return campaign


def find(folder: Path, name_or_path: str) -> Path:
    """File of a campaign: one in the facility's folder by its name, or any by its path.

    Raises:
        UsageError: there is no such file.
    """
    named = folder / "campaigns" / f"{name_or_path}.yaml"
    if "/" not in name_or_path and named.is_file():
        return named
    if Path(name_or_path).is_file():
        return Path(name_or_path)
    there = [path.stem for path in files(folder)]
    near = did_you_mean(name_or_path, there)
    right = near or (f"the facility has {', '.join(there)}; or give a file" if there else "give the path of a file")
    raise UsageError(f"there is no campaign {name_or_path!r}", cure=right)


def files(folder: Path) -> list[Path]:
    """Files of the campaigns that are written down with a facility."""
    return sorted((folder / "campaigns").glob("*.yaml"))


def examine(
    path: Path, facility: Facility, *, pipelines: Path = PIPELINES
) -> tuple[Campaign | None, tuple[Complaint, ...]]:
    """The campaign in a file together with every complaint; none where it cannot be used."""
    shown = shown_path(path.parent) + "/" + path.name
    source = typed(read_document(path, shown), WrittenCampaign)
    written = source.value
    if written is None or source.document.complaints:
        return None, tuple(sorted(source.document.complaints))
    pipeline, complaints = _pipeline(source, written, pipelines)
    able = _able_sites(source, written, facility)
    detectors = _numbers(source, written.coverage.detectors, "coverage", "detectors")
    exposures = {
        kind: _numbers(source, text, "coverage", "exposures", kind) for kind, text in written.coverage.exposures.items()
    }
    pinned = _pinned(source, written, detectors, facility)
    coverage = Coverage(shares=deal(detectors, able, pinned) if able else (), exposures=exposures)
    if pipeline is not None:
        _check_exposures(source, pipeline, written)
    if pipeline is not None and not source.document.complaints and count(pipeline, coverage) > MOST_QUANTA:
        wrong = f"this comes to {count(pipeline, coverage):,} quanta, more than {MOST_QUANTA:,}"
        _complain(source, "coverage", wrong=wrong, right="make several campaigns of it")
    complaints = tuple(sorted({*complaints, *source.document.complaints}))
    if complaints or pipeline is None:
        return None, complaints
    return (
        Campaign(
            name=written.name,
            title=written.title,
            facility=facility.name,
            file=shown,
            pipeline=pipeline,
            coverage=coverage,
            priority=written.priority,
            order=written.order,
            quanta_per_job=written.quanta_per_job,
            tries=written.tries,
            seed=written.seed,
            with_up=written.with_up,
            workplaces=workplaces(facility),
            quanta=expand(pipeline, coverage, seed=written.seed, order=written.order),
        ),
        (),
    )


def _complain(source: Source, *location: str | int, wrong: str, right: str) -> None:
    source.document.complain(source.document.line(location), wrong, right=right)


def _pipeline(source: Source, written: WrittenCampaign, folder: Path) -> tuple[Pipeline | None, tuple[Complaint, ...]]:
    """The pipeline asked for, in the version asked for."""
    names = known(folder)
    if written.pipeline not in names:
        right = did_you_mean(written.pipeline, names) or f"there is {', '.join(names) or 'none'}"
        _complain(source, "pipeline", wrong=f"there is no pipeline {written.pipeline!r}", right=right)
        return None, ()
    pipeline, complaints = read_pipeline(written.pipeline, folder)
    if pipeline is not None and pipeline.version != written.version:
        wrong = f"version {written.version} of {pipeline.name} is not the one that is released to workers"
        _complain(source, "version", wrong=wrong, right=f"write {pipeline.version}")
        return None, complaints
    return pipeline, complaints


def _able_sites(source: Source, written: WrittenCampaign, facility: Facility) -> list[str]:
    """Sites that detectors are dealt to."""
    able = [place.site for place in workplaces(facility)]
    if not written.coverage.sites:
        if not able:
            wrong = f"no site of {facility.name} can do batch work"
            lacks = "; ".join(f"{site.name} has {at_site(site)}" for site in facility.sites)
            _complain(source, "coverage", wrong=wrong, right=f"add what is missing: {lacks}")
        return able
    chosen: list[str] = []
    for index, name in enumerate(written.coverage.sites):
        if _check_site(source, facility, name, ("coverage", "sites", index)):
            if name in chosen:
                _complain(source, "coverage", "sites", index, wrong=f"{name} stands twice", right="keep one")
            chosen.append(name)
    return chosen


def _check_site(source: Source, facility: Facility, name: str, location: Location) -> bool:
    names = [site.name for site in facility.sites]
    if name not in names:
        right = did_you_mean(name, names) or f"the sites are {', '.join(names)}"
        _complain(source, *location, wrong=f"{facility.name} has no site {name!r}", right=right)
        return False
    lacks = at_site(facility.site(name))
    if isinstance(lacks, str):
        _complain(source, *location, wrong=f"{name} cannot do batch work: {lacks}", right="choose another site")
        return False
    return True


def _numbers(source: Source, text: str, *location: str | int) -> tuple[int, ...]:
    try:
        return numbers_of(text)
    except ValueError as error:
        _complain(source, *location, wrong=str(error), right="write the smaller number first")
        return ()


def _pinned(
    source: Source, written: WrittenCampaign, detectors: Sequence[int], facility: Facility
) -> dict[str, tuple[int, ...]]:
    """Detectors that stay at a site."""
    found: dict[str, tuple[int, ...]] = {}
    taken: dict[int, str] = {}
    for index, pin in enumerate(written.coverage.pinned):
        location = ("coverage", "pinned", index)
        if not _check_site(source, facility, pin.site, (*location, "site")):
            continue
        if pin.site in found:
            _complain(source, *location, wrong=f"{pin.site} stands twice", right="put its detectors together")
        numbers = _numbers(source, pin.detectors, *location, "detectors")
        for number in numbers:
            if number in taken:
                wrong = f"detector {number} is at {taken[number]} already"
                _complain(source, *location, "detectors", wrong=wrong, right="keep it at one site")
            elif number not in set(detectors):
                wrong = f"detector {number} is not among those covered"
                _complain(source, *location, "detectors", wrong=wrong, right="add it to detectors, or leave it out")
            taken[number] = pin.site
        found[pin.site] = numbers
    return found


def _check_exposures(source: Source, pipeline: Pipeline, written: WrittenCampaign) -> None:
    given = written.coverage.exposures
    for kind in given:
        if kind not in pipeline.exposure_kinds:
            near = did_you_mean(kind, pipeline.exposure_kinds) or f"it takes {', '.join(pipeline.exposure_kinds)}"
            wrong = f"the pipeline {pipeline.name} takes no {kind!r} exposures"
            _complain(source, "coverage", "exposures", kind, wrong=wrong, right=near)
    for kind in pipeline.exposure_kinds:
        if kind not in given:
            wrong = f"the pipeline {pipeline.name} needs {kind} exposures and none are covered"
            _complain(source, "coverage", "exposures", wrong=wrong, right=f"add '{kind}:' with their numbers")
