"""Carries a campaign out: its lease, its record, every site by itself, then products and report.

May be killed at any moment and run again: what Slurm was asked for is on disk before it is asked, and what is done is
known by the products in the sites' stores.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pachon import ground, places
from pachon.batch import delivery, report
from pachon.batch.campaign import Campaign, Workplace
from pachon.batch.expanding import at_places
from pachon.batch.report import CampaignReport
from pachon.batch.site_work import STAGE, Door, SiteWork
from pachon.drivers.run_file import Endpoint
from pachon.drivers.ssh import Credentials, Fleet, Host
from pachon.errors import MissingError, PachonError, UsageError
from pachon.model.campaigns import SETTLED, CampaignRow, CampaignState, QuantumState, SiteCondition, SiteNote
from pachon.model.facility import Facility
from pachon.progress import Event, Progress
from pachon.store import campaigns as kept
from pachon.store.database import Store, open_store
from pachon.store.journal import standing
from pachon.store.lease import hold, note_outcome

PATIENCE = timedelta(minutes=10)
OVER: frozenset[SiteCondition] = frozenset({"done", "partial"})
"""Of a site at which nothing is left to do."""


@dataclass(frozen=True)
class Order:
    """What is to be carried out, and where."""

    campaign: Campaign
    facility: Facility
    state: Path
    command: str
    patience: timedelta = PATIENCE
    """How long a site may be unknown, or stand still, before the run ends without it."""
    again: bool = False
    """Whether what was given up before is tried again."""


async def run(order: Order, progress: Progress) -> CampaignReport:
    """The report of the campaign, carried out as far as it can be now.

    Raises:
        LeaseHeldError: somebody else is carrying it out.
        MissingError: the facility is not up, or is the twin, which has no Slurm.
    """
    if (made := done_before(order, progress)) is not None:
        return made
    stands = await ground.standing(order.facility, order.state)
    if stands.kind == "twin":
        raise MissingError(
            "the twin has no operating systems, and so no Slurm",
            cure="'pachon doctor' says what this machine lacks for the real lab",
        )
    store = open_store(places.store(order.state))
    try:
        name = order.campaign.name
        lease_of = kept.lease_name(name)
        with hold(store, lease_of, facility=order.facility.name, command=order.command) as lease:
            record = kept.CampaignRecord(store, name, lease)
            campaign = _begin(order, store, record)
            progress(Event(STAGE, "", "started", f"{campaign.name}: {len(campaign.quanta)} quanta"))
            async with Fleet(Credentials.of_state(order.state)) as fleet:
                doors = Doors(order.facility, fleet, stands.detours)
                notes = await _at_sites(order, campaign, record, doors, progress=progress)
            state = _outcome(store, campaign, notes)
            record.end(state)
            if state != "done":
                note_outcome(store, lease, "partial")
        made = report_of(store, campaign, order.state)
        delivery.put_report(made, delivery.folder_of(order.state, name))
        progress(Event(STAGE, "", "done" if made.complete else "failed", f"{campaign.name}: {made.state}"))
        return made
    finally:
        store.close()


def done_before(order: Order, progress: Progress) -> CampaignReport | None:
    """The report of exactly this campaign, if it is done and all that it delivers is here."""
    campaign, folder = order.campaign, delivery.folder_of(order.state, order.campaign.name)
    store = open_store(places.store(order.state))
    try:
        row = kept.campaign_of(store, campaign.name)
        if row is None or row.digest != campaign.digest or row.state != "done":
            return None
        if delivery.missing(campaign, campaign.quanta, kept.quanta_of(store, campaign.name), folder):
            return None
        progress(Event(STAGE, campaign.name, "unchanged", "done before, and neither it nor its pipeline has changed"))
        return report_of(store, kept_campaign(store, campaign.name), order.state)
    finally:
        store.close()


def _begin(order: Order, store: Store, record: kept.CampaignRecord) -> Campaign:
    """The campaign, put on disk; detectors of which something is done stay where it was done."""
    campaign = at_places(order.campaign, kept.sites_of_quanta(store, order.campaign.name))
    before = kept.campaign_of(store, campaign.name)
    goes_on = before is not None and before.digest == campaign.digest
    row = CampaignRow(
        name=campaign.name,
        title=campaign.title,
        file=campaign.file,
        digest=campaign.digest,
        state="running",
        started_at=before.started_at if before is not None and goes_on else datetime.now(UTC),
        ended_at=None,
        document=campaign.model_dump(mode="json"),
    )
    record.begin(row, {quantum.key: quantum.site for quantum in campaign.quanta})
    if order.again:
        record.try_again()
    return campaign


async def _at_sites(
    order: Order, campaign: Campaign, record: kept.CampaignRecord, doors: "Doors", *, progress: Progress
) -> dict[str, SiteNote]:
    """How each site ended; none waits for another."""
    before = {note.site: note for note in record.notes()}
    folder = delivery.folder_of(order.state, campaign.name)

    async def one(place: Workplace) -> SiteNote:
        work = SiteWork(
            campaign=campaign,
            place=place,
            record=record,
            controller=doors.to(place.controller),
            storage=doors.to(place.storage),
            progress=progress,
            patience=order.patience,
            note=before.get(place.site) or SiteNote(place.site, "waiting", datetime.now(UTC)),
        )
        note = await work.carry_out()
        if note.condition in OVER:
            await delivery.fetch(campaign, campaign.at(place.site), record.quanta(place.site), work.staging, folder)
        return note

    chosen = [place for place in campaign.workplaces if campaign.at(place.site)]
    ended = await asyncio.gather(*(one(place) for place in chosen), return_exceptions=True)
    notes: dict[str, SiteNote] = {}
    for place, found in zip(chosen, ended, strict=True):
        if isinstance(found, PachonError):
            note = SiteNote(place.site, "stopped", datetime.now(UTC), found.message)
            record.note(note)
            progress(Event(STAGE, f"{place.site}/campaign/{campaign.name}", "failed", str(found)))
            notes[place.site] = note
        elif isinstance(found, BaseException):
            raise found
        else:
            notes[place.site] = found
    return notes


@dataclass(frozen=True)
class Doors:
    """The ways to hosts of a facility."""

    facility: Facility
    fleet: Fleet
    detours: Mapping[str, Endpoint]

    def to(self, host_name: str) -> Door:
        """The way to a host, over the management segment of its site."""
        host = next(host for host in self.facility.hosts if host.name == host_name)
        address = str(self.facility.site(host.site).machine_by_serial[host.machine].management_address)
        detour = self.detours.get(address)
        where, port = (address, 22) if detour is None else (detour.host, detour.port)

        async def open_host() -> Host:
            return await self.fleet.host(where, port=port, alias=address)

        return Door(open_host)


def _outcome(store: Store, campaign: Campaign, notes: Mapping[str, SiteNote]) -> CampaignState:
    states = [quantum.state for quantum in kept.quanta_of(store, campaign.name).values()]
    if any(note.condition not in OVER for note in notes.values()) or any(state not in SETTLED for state in states):
        return "unfinished"
    return "done" if all(state is QuantumState.DONE for state in states) else "partial"


def kept_campaign(store: Store, name: str) -> Campaign:
    """The campaign as it was last carried out.

    Raises:
        UsageError: none of that name was ever run.
    """
    row = kept.campaign_of(store, name)
    if row is None:
        known = [each.name for each in kept.campaigns_of(store)]
        raise UsageError(
            f"no campaign {name!r} was ever run here",
            cure=f"there is {', '.join(known)}" if known else "'pachon campaign run FILE' runs one",
        )
    return Campaign.model_validate(row.document)


def report_of(store: Store, campaign: Campaign, state: Path) -> CampaignReport:
    """The report from what is on disk: of a campaign that runs as well as of one that ended."""
    row = kept.campaign_of(store, campaign.name)
    if row is None:
        raise UsageError(f"no campaign {campaign.name!r} was ever run here", cure="run it")
    sites = [share.site for share in campaign.coverage.shares]
    folder = delivery.folder_of(state, campaign.name)
    return report.build(
        campaign,
        row,
        quanta=kept.quanta_of(store, campaign.name),
        attempts={site: kept.attempts_of(store, campaign.name, site=site) for site in sites},
        incidents=kept.incidents_of(store, campaign.name),
        notes=kept.notes_of(store, campaign.name),
        images=_images(store, sites),
        folder=str(folder),
        pictures=delivery.pictures(campaign, folder),
    )


def _images(store: Store, sites: list[str]) -> dict[str, str]:
    """Digest of the image of each host, from the journal of what was deployed."""
    found: dict[str, str] = {}
    for site in sites:
        for entry in standing(store, site):
            image, host = entry.inputs.get("image"), entry.inputs.get("host")
            if isinstance(image, dict) and isinstance(host, str):
                found[host] = str(image.get("digest", ""))
    return found
