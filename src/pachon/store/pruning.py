"""Takes old runs out of the journal and keeps all that later runs go by.

Kept of an address, however old: its last step, if something may stand there by it, and the last good making of each
generation of it, by which a run knows a machine for ours.
"""

from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.engine import Connection

from pachon.model.base import Frozen
from pachon.store.database import Store
from pachon.store.tables import leases, runs, steps


class Pruned(Frozen):
    """What was taken out, and what is left."""

    runs: int
    steps: int
    runs_left: int
    steps_left: int


def prune(store: Store, *, keep: int) -> Pruned:
    """What was taken out of the journal so that of each site the newest ``keep`` runs are left, with their steps."""
    with store.transaction() as connection:
        old = _old(connection, keep)
        newest = select(func.max(steps.c.id)).group_by(steps.c.site, steps.c.address)
        standing = and_(steps.c.id.in_(newest), ~and_(steps.c.verb == "delete", steps.c.outcome == "done"))
        made = select(func.max(steps.c.id)).where(steps.c.verb == "create", steps.c.outcome == "done")
        stands = select(steps.c.address).where(standing)
        proof = steps.c.id.in_(made.where(steps.c.address.in_(stands)).group_by(steps.c.address, steps.c.generation))
        needed = {row.id for row in connection.execute(select(steps.c.id).where(or_(standing, proof)))}
        gone = [
            row.id
            for run in old
            for row in connection.execute(select(steps.c.id).where(steps.c.run_id == run))
            if row.id not in needed
        ]
        for start in range(0, len(gone), 500):
            connection.execute(delete(steps).where(steps.c.id.in_(gone[start : start + 500])))
        left = {row.run_id for row in connection.execute(select(steps.c.run_id).distinct())}
        dropped = [run for run in old if run not in left]
        for start in range(0, len(dropped), 500):
            connection.execute(delete(runs).where(runs.c.id.in_(dropped[start : start + 500])))
        return Pruned(
            runs=len(dropped),
            steps=len(gone),
            runs_left=int(connection.execute(select(func.count()).select_from(runs)).scalar_one()),
            steps_left=int(connection.execute(select(func.count()).select_from(steps)).scalar_one()),
        )


def _old(connection: Connection, keep: int) -> list[str]:
    """Runs that have ended and are not among the newest of their site; a site's tokens tell their order."""
    holding = {row.run_id for row in connection.execute(select(leases.c.run_id).where(leases.c.released_at.is_(None)))}
    by_site: dict[str, list[tuple[int, str]]] = {}
    for row in connection.execute(select(runs.c.id, runs.c.site, runs.c.fencing_token)):
        by_site.setdefault(row.site, []).append((row.fencing_token, row.id))
    return [run for found in by_site.values() for _, run in sorted(found, reverse=True)[keep:] if run not in holding]
