"""The record of campaigns: what was intended before Slurm was asked, what Slurm took, and what came of it.

Every write checks the campaign's lease in its own transaction, so a writer that was overtaken commits nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Connection, Row

from pachon.model.campaigns import (
    LIVE,
    Attempt,
    AttemptState,
    CampaignRow,
    CampaignState,
    Incident,
    QuantumKey,
    QuantumRecord,
    QuantumState,
    SiteNote,
)
from pachon.store.database import Store, aware
from pachon.store.lease import Lease, require
from pachon.store.tables import campaign_attempts, campaign_incidents, campaign_quanta, campaign_sites, campaigns


def lease_name(campaign: str) -> str:
    """What the one writer of a campaign holds; a campaign has sites of its own to write at, and is none."""
    return f"campaign/{campaign}"


class CampaignRecord:
    """One campaign's record, written under its lease."""

    def __init__(self, store: Store, name: str, lease: Lease) -> None:
        self._store = store
        self._name = name
        self._lease = lease

    def begin(self, row: CampaignRow, site_by_key: Mapping[QuantumKey, str]) -> None:
        """Have the campaign in the store with exactly these quanta; what is known of them stays."""
        values = asdict(row)
        now = datetime.now(UTC)
        with self._store.transaction() as connection:
            self._require(connection)
            known = connection.execute(select(campaigns.c.name).where(campaigns.c.name == self._name)).first()
            if known is None:
                connection.execute(insert(campaigns).values(**values))
            else:
                connection.execute(update(campaigns).where(campaigns.c.name == self._name).values(**values))
            own = campaign_quanta.c.campaign == self._name
            rows = connection.execute(select(campaign_quanta.c.key, campaign_quanta.c.site).where(own))
            there = {row.key: row.site for row in rows}
            for key, site in there.items():
                one = (own, campaign_quanta.c.key == key)
                if key not in site_by_key:
                    connection.execute(delete(campaign_quanta).where(*one))
                elif site != site_by_key[key]:
                    connection.execute(update(campaign_quanta).where(*one).values(site=site_by_key[key]))
            fresh = [
                {
                    "campaign": self._name,
                    "key": key,
                    "site": site,
                    "state": QuantumState.WAITING.value,
                    "attempts": 0,
                    "failures": 0,
                    "message": "",
                    "product": None,
                    "since": now,
                }
                for key, site in site_by_key.items()
                if key not in there
            ]
            if fresh:
                connection.execute(insert(campaign_quanta), fresh)

    def notes(self) -> tuple[SiteNote, ...]:
        """How the sites are."""
        return notes_of(self._store, self._name)

    def try_again(self) -> None:
        """Have what was given up or blocked waiting again."""
        given_up = (QuantumState.FAILED.value, QuantumState.BLOCKED.value)
        with self._store.transaction() as connection:
            self._require(connection)
            connection.execute(
                update(campaign_quanta)
                .where(campaign_quanta.c.campaign == self._name, campaign_quanta.c.state.in_(given_up))
                .values(state=QuantumState.WAITING.value, attempts=0, failures=0, message="")
            )

    def quanta(self, site: str) -> dict[QuantumKey, QuantumRecord]:
        """What is known of every quantum at a site."""
        return quanta_of(self._store, self._name, site=site)

    def attempts(self, site: str) -> tuple[Attempt, ...]:
        """Attempts at a site that have not ended."""
        return tuple(attempt for attempt in attempts_of(self._store, self._name, site=site) if attempt.state in LIVE)

    def intend(self, site: str, attempts: Sequence[Attempt], quanta: Sequence[QuantumRecord]) -> None:
        """Put on disk what is about to be submitted."""
        now = datetime.now(UTC)
        with self._store.transaction() as connection:
            self._require(connection)
            for attempt in attempts:
                values = _values(attempt) | {"campaign": self._name, "site": site, "intended_at": now}
                connection.execute(insert(campaign_attempts).values(**values, changed_at=now))
            self._keep_quanta(connection, quanta, now)

    def keep(
        self,
        *,
        quanta: Sequence[QuantumRecord] = (),
        attempts: Sequence[Attempt] = (),
        incidents: Sequence[Incident] = (),
    ) -> None:
        """Put on disk what changed."""
        now = datetime.now(UTC)
        with self._store.transaction() as connection:
            self._require(connection)
            self._keep_quanta(connection, quanta, now)
            for attempt in attempts:
                connection.execute(
                    update(campaign_attempts)
                    .where(campaign_attempts.c.token == attempt.token, campaign_attempts.c.number == attempt.index)
                    .values(**_values(attempt), changed_at=now)
                )
            for incident in incidents:
                values = asdict(incident) | {"keys": list(incident.keys), "campaign": self._name}
                connection.execute(insert(campaign_incidents).values(**values))

    def note(self, note: SiteNote) -> None:
        """Put on disk how a site is."""
        at_site = (campaign_sites.c.campaign == self._name, campaign_sites.c.site == note.site)
        with self._store.transaction() as connection:
            self._require(connection)
            connection.execute(delete(campaign_sites).where(*at_site))
            connection.execute(insert(campaign_sites).values(campaign=self._name, **asdict(note)))

    def end(self, state: CampaignState) -> None:
        """Put the campaign's end on disk."""
        with self._store.transaction() as connection:
            self._require(connection)
            connection.execute(
                update(campaigns).where(campaigns.c.name == self._name).values(state=state, ended_at=datetime.now(UTC))
            )

    def _require(self, connection: Connection) -> None:
        require(connection, self._lease.site, self._lease.fencing_token)

    def _keep_quanta(self, connection: Connection, quanta: Sequence[QuantumRecord], now: datetime) -> None:
        for quantum in quanta:
            values = asdict(quantum) | {"state": quantum.state.value, "since": now}
            connection.execute(
                update(campaign_quanta)
                .where(campaign_quanta.c.campaign == self._name, campaign_quanta.c.key == quantum.key)
                .values(**values)
            )


def _values(attempt: Attempt) -> dict[str, Any]:
    values = asdict(attempt) | {"state": attempt.state.value, "keys": list(attempt.keys)}
    values["number"] = values.pop("index")
    return values


def campaigns_of(store: Store) -> tuple[CampaignRow, ...]:
    """All campaigns, the latest first."""
    with store.transaction() as connection:
        rows = connection.execute(select(campaigns).order_by(campaigns.c.started_at.desc())).all()
    return tuple(_campaign(row) for row in rows)


def campaign_of(store: Store, name: str) -> CampaignRow | None:
    """The campaign of that name."""
    with store.transaction() as connection:
        row = connection.execute(select(campaigns).where(campaigns.c.name == name)).one_or_none()
    return None if row is None else _campaign(row)


def _campaign(row: Row[Any]) -> CampaignRow:
    return CampaignRow(
        name=row.name,
        title=row.title,
        file=row.file,
        digest=row.digest,
        state=row.state,
        started_at=aware(row.started_at),
        ended_at=None if row.ended_at is None else aware(row.ended_at),
        document=row.document,
    )


def notes_of(store: Store, campaign: str) -> tuple[SiteNote, ...]:
    """How a campaign's sites are, by name."""
    query = select(campaign_sites).where(campaign_sites.c.campaign == campaign)
    with store.transaction() as connection:
        rows = connection.execute(query).all()
    return tuple(
        SiteNote(row.site, row.condition, aware(row.since), row.reason)
        for row in sorted(rows, key=lambda row: row.site)
    )


def quanta_of(store: Store, campaign: str, *, site: str = "") -> dict[QuantumKey, QuantumRecord]:
    """What is known of a campaign's quanta, at one site or at all."""
    query = select(campaign_quanta).where(campaign_quanta.c.campaign == campaign)
    with store.transaction() as connection:
        rows = connection.execute(query.where(campaign_quanta.c.site == site) if site else query).all()
    return {
        row.key: QuantumRecord(
            key=row.key,
            state=QuantumState(row.state),
            attempts=row.attempts,
            failures=row.failures,
            message=row.message,
            product=row.product,
        )
        for row in rows
    }


def sites_of_quanta(store: Store, campaign: str) -> dict[QuantumKey, str]:
    """The site of each quantum that is done: its product is there, and it stays there."""
    query = select(campaign_quanta.c.key, campaign_quanta.c.site).where(
        campaign_quanta.c.campaign == campaign, campaign_quanta.c.state == QuantumState.DONE.value
    )
    with store.transaction() as connection:
        return {row.key: row.site for row in connection.execute(query)}


def attempts_of(store: Store, campaign: str, *, site: str = "") -> tuple[Attempt, ...]:
    """All attempts of a campaign, at one site or at all, in the order in which they were intended."""
    query = select(campaign_attempts).where(campaign_attempts.c.campaign == campaign)
    query = query.where(campaign_attempts.c.site == site) if site else query
    order = (campaign_attempts.c.intended_at, campaign_attempts.c.token, campaign_attempts.c.number)
    with store.transaction() as connection:
        rows = connection.execute(query.order_by(*order)).all()
    return tuple(
        Attempt(
            token=row.token,
            index=row.number,
            step=row.step,
            keys=tuple(row._mapping["keys"]),
            job_id=row.job_id,
            state=AttemptState(row.state),
            host=row.host,
            restarts=row.restarts,
            message=row.message,
        )
        for row in rows
    )


def incidents_of(store: Store, campaign: str) -> tuple[Incident, ...]:
    """What went otherwise than it should, in order."""
    query = select(campaign_incidents).where(campaign_incidents.c.campaign == campaign)
    with store.transaction() as connection:
        rows = connection.execute(query.order_by(campaign_incidents.c.id)).all()
    return tuple(
        Incident(
            at=aware(row.at),
            site=row.site,
            kind=row.kind,
            message=row.message,
            host=row.host,
            keys=tuple(row._mapping["keys"]),
        )
        for row in rows
    )
