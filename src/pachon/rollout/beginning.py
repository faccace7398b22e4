"""Begins a rollout, or takes up the one that was begun: facts, plan, lease, record, then ``running``."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pachon.errors import RefusedError
from pachon.model.rollout import Place, Release, Rules
from pachon.model.rollout_record import RolloutRow
from pachon.model.service import Service
from pachon.progress import Progress
from pachon.rollout import planning, words
from pachon.rollout.leasing import SiteLeases
from pachon.rollout.plan import RolloutPlan
from pachon.rollout.running import Running
from pachon.rollout.words import SIGNERS
from pachon.rollout.world import World
from pachon.store import releases as on_record
from pachon.store.database import Store
from pachon.store.lease import Lease, hold, new_run_id
from pachon.store.rollouts import RolloutRecord, lease_name, open_rollout, plan_of, rollouts_of


@dataclass(frozen=True)
class Subject:
    """A service with its releases, and where it stands."""

    facility: str
    zones: Mapping[str, str]
    """Time zone of each site."""
    service: Service
    rules: Rules
    releases: Mapping[str, Release]
    """As its entry has them."""
    places: tuple[Place, ...]
    signers: Path | None
    """Who may speak for the Observatory; it may not be there."""


@dataclass(frozen=True)
class Order:
    """What is asked for, by whom and why."""

    version: str
    sites: Sequence[str]
    by: str
    why: str
    command: str


async def facts_of(subject: Subject, world: World, store: Store) -> planning.Facts:
    """What is seen in the world and stands on record now (TemporaryError: something cannot be asked)."""
    known = on_record.on_record(store, subject.service.name)
    sites = tuple(dict.fromkeys(place.site for place in subject.places))
    looks = await asyncio.gather(*(world.look(place) for place in subject.places))
    artefacts = await asyncio.gather(*(world.artefacts(site) for site in sites))
    running = zip(subject.places, looks, strict=True)
    return planning.Facts(
        facility=subject.facility,
        zones=subject.zones,
        places=subject.places,
        running={
            place.address: frozenset(version for version, there in look.items() if there) for place, look in running
        },
        artefacts=dict(zip(sites, artefacts, strict=True)),
        releases={**known.releases, **subject.releases},
        recorded={version: release.digest for version, release in known.releases.items()},
        proven=known.proven,
        holds=known.holds,
    )


async def plan(subject: Subject, world: World, store: Store, *, version: str, sites: Sequence[str] = ()) -> RolloutPlan:
    """The plan of the rollout (errors as of ``planning.plan``)."""
    facts = await facts_of(subject, world, store)
    made = planning.plan(facts, subject.rules, subject.service, version, sites=sites)
    if made.needs_word and words.deaf(subject.signers):
        raise RefusedError(
            f"{made.service} asks for the Observatory's word ({made.needs_word}), and nobody may give it",
            cure=f"put a file {SIGNERS} beside facility.yaml, as in ssh-keygen(1), ALLOWED SIGNERS",
        )
    return made


async def carry_out(subject: Subject, order: Order, world: World, store: Store, progress: Progress) -> RolloutRow:
    """The rollout once it has ended; one that was begun and not ended is taken up where it was left.

    Raises:
        LeaseHeldError: somebody is carrying out a rollout of the service.
        RefusedError: it may not begin, or another one has not ended.
        UsageError: there is no such release, or it is everywhere already.
    """
    name = lease_name(subject.service.name)
    with hold(store, name, facility=subject.facility, command=order.command) as lease:
        record, made = await _record(subject, order, world, store, lease)
        leases = SiteLeases(store, facility=subject.facility, command=order.command)
        running = Running(made, record, world, leases, progress, subject.signers)
        return await running.carry_out()


async def _record(
    subject: Subject, order: Order, world: World, store: Store, lease: Lease
) -> tuple[RolloutRecord, RolloutPlan]:
    unended = next((row for row in rollouts_of(store, subject.service.name) if row.ended_at is None), None)
    if unended is not None:
        if unended.version != order.version:
            raise RefusedError(
                f"a rollout of {unended.service} to {unended.version} has not ended",
                cure=f"go on with it: 'pachon rollout start {unended.service} {unended.version}'; or have it go back: "
                f"'pachon rollout abort {unended.id}', and start it once more",
            )
        return RolloutRecord(store, unended.id, lease), RolloutPlan.model_validate(plan_of(store, unended.id))
    made = await plan(subject, world, store, version=order.version, sites=order.sites)
    now = world.now()
    row = RolloutRow(
        id=new_run_id(now),
        service=made.service,
        version=made.new.version,
        from_version=made.old.version,
        by=order.by,
        why=order.why,
        wanted="forward",
        wanted_by=order.by,
        wanted_why=order.why,
        wanted_at=now,
        started_at=now,
    )
    return open_rollout(store, lease, row, made.model_dump(mode="json")), made
