"""Which machine became which host, so that dealing out a pool again gives the same answer."""

from datetime import UTC, datetime

from sqlalchemy import delete, insert, select

from pachon.store.database import Store
from pachon.store.tables import allocations


def allocated(store: Store, site: str) -> dict[str, str]:
    """Serial of the machine of each allocated host of the site."""
    with store.transaction() as connection:
        rows = connection.execute(select(allocations.c.host, allocations.c.machine).where(allocations.c.site == site))
        return {row.host: row.machine for row in rows}


def allocate(store: Store, site: str, *, pool: str, machine_by_host: dict[str, str]) -> None:
    """Keep exactly this allocation for the pool."""
    with store.transaction() as connection:
        connection.execute(delete(allocations).where(allocations.c.site == site, allocations.c.pool == pool))
        for host, machine in sorted(machine_by_host.items()):
            connection.execute(
                insert(allocations).values(site=site, host=host, pool=pool, machine=machine, at=datetime.now(UTC))
            )
