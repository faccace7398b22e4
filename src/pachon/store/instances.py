"""Which version each slot of each host is to have, as rollouts leave it: written before an instance starts or stops.

A run that makes hosts right goes by this and not by the definition, which knows the first release only.
"""

from datetime import UTC, datetime

from sqlalchemy import delete, insert, select

from pachon.model.instance import Slot, Standing
from pachon.model.rollout import Release
from pachon.store.database import Store
from pachon.store.lease import Lease, require
from pachon.store.tables import instance_versions


def put(
    store: Store, lease: Lease, service: str, *, enclave: str, host: str, slot: Slot, release: Release | None
) -> None:
    """Have on record what a slot of a host is to have; None: nothing.

    Raises:
        RefusedError: a later writer has the site of the lease.
    """
    own = {"service": service, "site": lease.site, "enclave": enclave, "host": host, "slot": slot}
    version, digest = ("", "") if release is None else (release.version, release.digest)
    with store.transaction() as connection:
        require(connection, lease.site, lease.fencing_token)
        where = [instance_versions.c[name] == value for name, value in own.items()]
        known = connection.execute(select(instance_versions.c.digest).where(*where)).one_or_none()
        if known is not None and known.digest == digest:
            return
        connection.execute(delete(instance_versions).where(*where))
        more = {"version": version, "digest": digest, "run_id": lease.run_id, "since": datetime.now(UTC)}
        connection.execute(insert(instance_versions).values(**own, **more))


def standing(store: Store, service: str = "", site: str = "") -> tuple[Standing, ...]:
    """What slots are to have (of a service, at a site), in order; such as are to be empty are among them."""
    columns = [instance_versions.c[name] for name in Standing.model_fields]
    query = select(*columns)
    query = query.where(instance_versions.c.service == service) if service else query
    query = query.where(instance_versions.c.site == site) if site else query
    with store.snapshot() as connection:
        found = [Standing.model_validate(dict(row._mapping)) for row in connection.execute(query)]
    return tuple(sorted(found, key=lambda each: (each.service, each.site, each.enclave, each.host, each.slot)))
