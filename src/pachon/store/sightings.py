"""When each host last let us in: what is said of it while it cannot be asked."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import delete, insert, select

from pachon.store.database import Store, aware
from pachon.store.tables import sightings


def saw(store: Store, moment_by_host: Mapping[str, datetime]) -> None:
    """Remember that these hosts let us in."""
    if not moment_by_host:
        return
    with store.transaction() as connection:
        connection.execute(delete(sightings).where(sightings.c.host.in_(list(moment_by_host))))
        connection.execute(insert(sightings), [{"host": host, "at": at} for host, at in moment_by_host.items()])


def last_seen(store: Store) -> dict[str, datetime]:
    """When each host last let us in."""
    with store.transaction() as connection:
        return {row.host: aware(row.at) for row in connection.execute(select(sightings))}
