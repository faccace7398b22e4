"""Releases on record: what each version is, where it was proven, which ones are held, what each place is to have."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Connection

from pachon.errors import RefusedError
from pachon.model.rollout import Release
from pachon.model.rollout_record import Hold, InForce
from pachon.store.database import Store, aware
from pachon.store.tables import release_holds, release_proofs, releases, releases_in_force


@dataclass(frozen=True)
class Proof:
    """A release at a place."""

    service: str
    version: str
    digest: str
    site: str
    enclave: str


@dataclass(frozen=True)
class OnRecord:
    """What is known of a service's releases."""

    releases: Mapping[str, Release]
    """By version, as they were first rolled out."""
    proven: frozenset[tuple[str, str, str]]
    """Digests, each with a site and an enclave at which it was proven and from which it did not go back since."""
    holds: tuple[Hold, ...]
    """Those that nobody has lifted."""
    in_force: tuple[InForce, ...]


def on_record(store: Store, service: str) -> OnRecord:
    """What is known of a service's releases."""
    with store.snapshot() as connection:
        known = connection.execute(select(releases).where(releases.c.service == service)).all()
        proofs = connection.execute(select(release_proofs).where(release_proofs.c.service == service)).all()
        held = connection.execute(
            select(release_holds).where(release_holds.c.service == service, release_holds.c.lifted_at.is_(None))
        ).all()
        force = connection.execute(select(releases_in_force).where(releases_in_force.c.service == service)).all()
    return OnRecord(
        releases={row.version: Release.model_validate(row.document) for row in known},
        proven=frozenset((row.digest, row.site, row.enclave) for row in proofs),
        holds=tuple(Hold(service, row.version, row.why, row.by, row.rollout, aware(row.at)) for row in held),
        in_force=tuple(
            InForce(row.site, row.enclave, row.version, row.digest, row.rollout, aware(row.since))
            for row in sorted(force, key=lambda row: (row.site, row.enclave))
        ),
    )


def all_known(store: Store) -> dict[tuple[str, str], Release]:
    """Every release on record, by service and version."""
    with store.snapshot() as connection:
        rows = connection.execute(select(releases)).all()
    return {(row.service, row.version): Release.model_validate(row.document) for row in rows}


def all_in_force(store: Store) -> dict[tuple[str, str, str], str]:
    """The version that each place is to have, by service, site and enclave."""
    with store.snapshot() as connection:
        rows = connection.execute(select(releases_in_force)).all()
    return {(row.service, row.site, row.enclave): row.version for row in rows}


def lift(store: Store, service: str, version: str, *, by: str, why: str, at: datetime) -> None:
    """Let the version be rolled out again.

    Raises:
        RefusedError: nothing holds it.
    """
    own = (release_holds.c.service == service, release_holds.c.version == version)
    with store.transaction() as connection:
        values = {"lifted_at": at, "lifted_by": by, "lifted_why": why}
        query = update(release_holds).where(*own, release_holds.c.lifted_at.is_(None)).values(**values)
        if not connection.execute(query).rowcount:
            raise RefusedError(f"nothing holds {service} {version}", cure="'pachon rollout history' shows what is held")


def know_in(connection: Connection, document: Mapping[str, Any], *, at: datetime) -> None:
    """Have a release on record, as it was when it was first rolled out."""
    release = Release.model_validate(document)
    own = (releases.c.service == release.service, releases.c.version == release.version)
    if connection.execute(select(releases.c.digest).where(*own)).first() is None:
        values = {"service": release.service, "version": release.version, "digest": release.digest, "at": at}
        connection.execute(insert(releases).values(**values, document=release.model_dump(mode="json")))


def prove_in(connection: Connection, proof: Proof, *, rollout: str, at: datetime) -> None:
    """Have on record that a release was proven at a place, by this rollout."""
    values = {"service": proof.service, "digest": proof.digest, "site": proof.site, "enclave": proof.enclave}
    own = [release_proofs.c[name] == value for name, value in values.items()]
    connection.execute(delete(release_proofs).where(*own))
    connection.execute(insert(release_proofs).values(**values, rollout=rollout, at=at))


def unprove_in(connection: Connection, *, rollout: str) -> None:
    """Have nothing count as proven by a rollout: it goes back."""
    connection.execute(delete(release_proofs).where(release_proofs.c.rollout == rollout))


def put_in_force_in(connection: Connection, proof: Proof, *, rollout: str, at: datetime) -> None:
    """Have on record which version a place is to have."""
    values = {"service": proof.service, "site": proof.site, "enclave": proof.enclave}
    own = [releases_in_force.c[name] == value for name, value in values.items()]
    connection.execute(delete(releases_in_force).where(*own))
    more = {"version": proof.version, "digest": proof.digest, "rollout": rollout, "since": at}
    connection.execute(insert(releases_in_force).values(**values, **more))


def hold_in(
    connection: Connection, service: str, version: str, *, why: str, by: str, rollout: str, at: datetime
) -> None:
    """Hold a version, which is proven nowhere then; one that is held already stays so for its first reason."""
    own = (release_holds.c.service == service, release_holds.c.version == version)
    known = connection.execute(select(release_holds.c.lifted_at).where(*own)).one_or_none()
    if known is not None and known.lifted_at is None:
        return
    connection.execute(delete(release_holds).where(*own))
    values = {"service": service, "version": version, "why": why, "by": by, "rollout": rollout, "at": at}
    connection.execute(insert(release_holds).values(**values))
    digest = select(releases.c.digest).where(releases.c.service == service, releases.c.version == version)
    proofs = (release_proofs.c.service == service, release_proofs.c.digest == digest.scalar_subquery())
    connection.execute(delete(release_proofs).where(*proofs))
