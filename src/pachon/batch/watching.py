"""Campaigns as they are now, from the store alone: also while they are carried out, and while a site is cut off."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from pachon import places
from pachon.batch import delivery
from pachon.batch.running import kept_campaign
from pachon.model.base import Frozen
from pachon.model.campaigns import CampaignRow, QuantumState
from pachon.store import campaigns as kept
from pachon.store.database import Store, open_if_there
from pachon.store.lease import holder_of


class SiteSummary(Frozen):
    """One site's part of a campaign."""

    site: str
    condition: str
    since: datetime | None
    reason: str
    counts: Mapping[str, int]
    """Quanta by state."""


class CampaignSummary(Frozen):
    """A campaign as it is."""

    name: str
    title: str
    state: str
    """As in the store; ``interrupted``: nobody carries it out, and it has not ended."""
    carried_out_by: str
    """Who is at it now, or empty."""
    started_at: datetime
    ended_at: datetime | None
    quanta: int
    done: int
    sites: tuple[SiteSummary, ...]
    incidents: int
    report: str
    """Path of the report, once there is one."""
    pictures: tuple[str, ...]


def summaries(state: Path) -> tuple[CampaignSummary, ...]:
    """All campaigns of the facility with this state folder, the latest first."""
    store = open_if_there(places.store(state))
    if store is None:
        return ()
    try:
        return tuple(_summary(store, row, state) for row in kept.campaigns_of(store))
    finally:
        store.close()


def _summary(store: Store, row: CampaignRow, state: Path) -> CampaignSummary:
    campaign = kept_campaign(store, row.name)
    quanta = kept.quanta_of(store, row.name)
    notes = {note.site: note for note in kept.notes_of(store, row.name)}
    held = holder_of(store, kept.lease_name(row.name))
    alive = held is not None and not held.dead
    sites = []
    for share in campaign.coverage.shares:
        note = notes.get(share.site)
        own = (quanta[quantum.key].state.value for quantum in campaign.at(share.site) if quantum.key in quanta)
        sites.append(
            SiteSummary(
                site=share.site,
                condition="waiting" if note is None else note.condition,
                since=None if note is None else note.since,
                reason="" if note is None else note.reason,
                counts=dict(sorted(Counter(own).items())),
            )
        )
    folder = delivery.folder_of(state, row.name)
    report = folder / "report.md"
    return CampaignSummary(
        name=row.name,
        title=row.title,
        state="interrupted" if row.state == "running" and not alive else row.state,
        carried_out_by=str(held.holder) if held is not None and alive else "",
        started_at=row.started_at,
        ended_at=row.ended_at,
        quanta=len(quanta),
        done=sum(quantum.state is QuantumState.DONE for quantum in quanta.values()),
        sites=tuple(sites),
        incidents=len(kept.incidents_of(store, row.name)),
        report=str(report) if report.is_file() else "",
        pictures=tuple(str(folder / name) for name in delivery.picture_names(campaign) if (folder / name).is_file()),
    )
