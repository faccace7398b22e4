"""What a campaign came to, with the provenance of every product. Pure; as a value, and as Markdown for people."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pachon.batch.campaign import Campaign, Quantum
from pachon.batch.products import File, ProductRecord
from pachon.model.base import Frozen
from pachon.model.campaigns import Attempt, CampaignRow, Incident, QuantumRecord, QuantumState, SiteNote

STATISTICS = ("mean", "median", "deviation", "least", "most", "frames", "clipped")


class SiteReport(Frozen):
    """One site's part."""

    site: str
    condition: str
    since: datetime | None
    reason: str
    detectors: tuple[int, ...]
    quanta: int
    done: int
    failed: int
    blocked: int
    hosts: Mapping[str, int]
    """Quanta done by each worker."""


class TaskReport(Frozen):
    """One task's part."""

    task: str
    title: str
    quanta: int
    done: int
    seconds: float
    """Spent on workers in all."""
    slowest: str
    """The quantum that took longest, where, and for how long."""


class IncidentReport(Frozen):
    """Something that went otherwise than it should."""

    at: datetime
    """When it was noticed."""
    site: str
    kind: str
    host: str
    message: str
    quanta: tuple[str, ...]
    done_by: tuple[str, ...]
    """Workers that did these quanta in the end."""


class Statistics(Frozen):
    """What one combined frame is like."""

    site: str
    kind: str
    detector: int
    values: Mapping[str, int | float]


class Provenance(Frozen):
    """Where one product comes from."""

    key: str
    quantum: str
    site: str
    state: str
    message: str
    attempts: int
    failures: int
    seed: int | None
    host: str
    host_stamp: str
    """Address and generation of the host as it was deployed."""
    image: str
    """Digest of the image that the host was deployed with."""
    job: str
    """``<array>_<task>`` in the site's Slurm, and our token."""
    restarts: int
    started_at: str
    seconds: float
    software: Mapping[str, str]
    products: tuple[File, ...]
    inputs: tuple[File, ...]


class CampaignReport(Frozen):
    """A campaign as it is, or as it ended."""

    name: str
    title: str
    facility: str
    state: str
    pipeline: str
    pipeline_sha256: str
    priority: int
    detectors: tuple[int, ...]
    exposures: Mapping[str, tuple[int, ...]]
    started_at: datetime
    ended_at: datetime | None
    seconds: float | None
    sites: tuple[SiteReport, ...]
    tasks: tuple[TaskReport, ...]
    incidents: tuple[IncidentReport, ...]
    statistics: tuple[Statistics, ...]
    pictures: tuple[str, ...]
    """Paths of pictures of all detectors together."""
    folder: str
    """Where products and this report were put."""
    jobs: Mapping[str, tuple[str, ...]]
    """Slurm's arrays by site: number and our token."""
    provenance: tuple[Provenance, ...]

    @property
    def complete(self) -> bool:
        """Whether every product is there."""
        return self.state == "done"


def build(
    campaign: Campaign,
    row: CampaignRow,
    *,
    quanta: Mapping[str, QuantumRecord],
    attempts: Mapping[str, Sequence[Attempt]],
    incidents: Iterable[Incident],
    notes: Iterable[SiteNote],
    images: Mapping[str, str],
    folder: str,
    pictures: Sequence[str],
) -> CampaignReport:
    """The report; ``attempts`` by site, ``images`` by host."""
    records = {key: ProductRecord.model_validate(quantum.product) for key, quantum in quanta.items() if quantum.product}
    by_key = {quantum.key: quantum for quantum in campaign.quanta}
    note_by_site = {note.site: note for note in notes}
    ended = row.ended_at
    return CampaignReport(
        name=campaign.name,
        title=campaign.title,
        facility=campaign.facility,
        state=row.state,
        pipeline=f"{campaign.pipeline.name} {campaign.pipeline.version}",
        pipeline_sha256=campaign.pipeline.software,
        priority=campaign.priority,
        detectors=campaign.coverage.detectors,
        exposures=campaign.coverage.exposures,
        started_at=row.started_at,
        ended_at=ended,
        seconds=None if ended is None else round((ended - row.started_at).total_seconds(), 1),
        sites=tuple(
            _site(campaign, share.site, quanta, records, note_by_site.get(share.site))
            for share in campaign.coverage.shares
        ),
        tasks=_tasks(campaign, records),
        incidents=tuple(_incident(each, by_key, records) for each in incidents),
        statistics=_statistics(campaign, records),
        pictures=tuple(pictures),
        folder=folder,
        jobs={
            site: tuple(dict.fromkeys(f"{each.job_id or 'none'} {each.token}" for each in own))
            for site, own in attempts.items()
        },
        provenance=tuple(
            _provenance(quantum, quanta.get(quantum.key), records.get(quantum.key), images)
            for quantum in campaign.quanta
        ),
    )


def _site(
    campaign: Campaign,
    site: str,
    quanta: Mapping[str, QuantumRecord],
    records: Mapping[str, ProductRecord],
    note: SiteNote | None,
) -> SiteReport:
    own = campaign.at(site)
    states = [quanta[quantum.key].state for quantum in own if quantum.key in quanta]
    hosts: dict[str, int] = {}
    for quantum in own:
        if quantum.key in records:
            host = records[quantum.key].host
            hosts[host] = hosts.get(host, 0) + 1
    return SiteReport(
        site=site,
        condition="waiting" if note is None else note.condition,
        since=None if note is None else note.since,
        reason="" if note is None else note.reason,
        detectors=tuple(sorted({quantum.data_id["detector"] for quantum in own})),
        quanta=len(own),
        done=states.count(QuantumState.DONE),
        failed=states.count(QuantumState.FAILED),
        blocked=states.count(QuantumState.BLOCKED),
        hosts=dict(sorted(hosts.items())),
    )


def _tasks(campaign: Campaign, records: Mapping[str, ProductRecord]) -> tuple[TaskReport, ...]:
    found = []
    for task in campaign.pipeline.tasks:
        own = [quantum for quantum in campaign.quanta if quantum.task == task.name]
        done = [(records[quantum.key], quantum) for quantum in own if quantum.key in records]
        slowest = max(done, key=lambda pair: pair[0].seconds, default=None)
        told = "" if slowest is None else f"{slowest[1].label} on {slowest[0].host}: {slowest[0].seconds} s"
        found.append(
            TaskReport(
                task=task.name,
                title=task.title,
                quanta=len(own),
                done=len(done),
                seconds=round(sum(record.seconds for record, _ in done), 3),
                slowest=told,
            )
        )
    return tuple(found)


def _incident(
    incident: Incident, by_key: Mapping[str, Quantum], records: Mapping[str, ProductRecord]
) -> IncidentReport:
    return IncidentReport(
        at=incident.at,
        site=incident.site,
        kind=incident.kind,
        host=incident.host,
        message=incident.message,
        quanta=tuple(by_key[key].label if key in by_key else key for key in incident.keys),
        done_by=tuple(sorted({records[key].host for key in incident.keys if key in records})),
    )


def _statistics(campaign: Campaign, records: Mapping[str, ProductRecord]) -> tuple[Statistics, ...]:
    """What tasks told of as ``statistics``, by kind and detector."""
    found = []
    for quantum in campaign.quanta:
        told = records[quantum.key].facts.get("statistics") if quantum.key in records else None
        if isinstance(told, dict):
            values = {name: told[name] for name in STATISTICS if isinstance(told.get(name), int | float)}
            kind, detector = str(told.get("kind", quantum.task)), quantum.data_id["detector"]
            found.append(Statistics(site=quantum.site, kind=kind, detector=detector, values=values))
    return tuple(sorted(found, key=lambda each: (each.kind, each.detector)))


def _provenance(
    quantum: Quantum, known: QuantumRecord | None, record: ProductRecord | None, images: Mapping[str, str]
) -> Provenance:
    known = known or QuantumRecord(key=quantum.key)
    told: dict[str, Any] = {"seed": None, "host": "", "host_stamp": "", "image": "", "job": "", "restarts": 0}
    told |= {"started_at": "", "seconds": 0.0, "software": {}, "products": (), "inputs": ()}
    if record is not None:
        told |= record.model_dump(include=set(told) & set(ProductRecord.model_fields))
        told["image"] = images.get(record.host, "")
        told["job"] = f"{record.job_id}_{record.task_index} {record.token}"
    return Provenance(
        key=quantum.key,
        quantum=quantum.label,
        site=quantum.site,
        state=known.state.value,
        message=known.message,
        attempts=known.attempts,
        failures=known.failures,
        **told,
    )
