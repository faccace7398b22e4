"""What is put on record when the hardware of a site is taken away whole: nothing of what was made there stands."""

from datetime import UTC, datetime

from sqlalchemy import delete, func, insert, select, update

from pachon.store.database import Store
from pachon.store.lease import Lease, require
from pachon.store.tables import leases, machines, receipts, steps

GONE = "its hardware was taken away"


def sites_written(store: Store) -> set[str]:
    """Names of all sites that anybody ever wrote to."""
    with store.transaction() as connection:
        return set(connection.execute(select(leases.c.site)).scalars())


def forget_hardware(store: Store, lease: Lease) -> int:
    """Number of resources at the lease's site that stood by the journal, and are on record as deleted now.

    Receipts and records of machines, with the pins of their BMCs, are dropped; what runs did stays.

    Raises:
        RefusedError: a later writer has taken the site's lease.
    """
    now, site = datetime.now(UTC), lease.site
    newest = select(func.max(steps.c.id)).where(steps.c.site == site).group_by(steps.c.address)
    with store.transaction() as connection:
        require(connection, site, lease.fencing_token)
        rows = connection.execute(select(steps).where(steps.c.id.in_(newest))).all()
        standing = [row for row in rows if (row.verb, row.outcome) != ("delete", "done")]
        begun = steps.c.site == site, steps.c.outcome.is_(None)
        connection.execute(update(steps).where(*begun).values(ended_at=now, outcome="failed", message=GONE))
        deleted = {"verb": "delete", "intended_at": now, "ended_at": now, "outcome": "done", "message": GONE}
        written = {"run_id": lease.run_id, "site": site, "fencing_token": lease.fencing_token, **deleted}
        same = ("address", "kind", "generation", "inputs")
        for row in standing:
            connection.execute(insert(steps).values(**written, **{name: getattr(row, name) for name in same}))
        connection.execute(delete(receipts).where(receipts.c.address.startswith(f"{site}/", autoescape=True)))
        connection.execute(delete(machines).where(machines.c.site == site))
    return len(standing)
