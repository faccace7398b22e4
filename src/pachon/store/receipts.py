"""Receipts: proof of what a finished piece of work left behind, by which a run knows that nothing is to be done.

A receipt without a digest is an intent: the work was begun there and never proven to be done.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, delete, insert, select, update

from pachon.store.database import Store, aware
from pachon.store.lease import Lease, require
from pachon.store.tables import receipts

ASKED_AT_ONCE = 500
"""Addresses in one query: databases take so many."""


@dataclass(frozen=True)
class Receipt:
    """What an address was made from and what was then observed there."""

    address: str
    """Of a resource, or of a whole stack (``base/stack/compute``)."""
    run_id: str
    generation: str
    inputs_digest: str
    observed_digest: str
    document: dict[str, Any]
    at: datetime

    @property
    def is_intent(self) -> bool:
        """Whether the work was begun and not proven to be done."""
        return not self.inputs_digest


class Version(NamedTuple):
    """What tells a receipt from an earlier one of its address: the rest of it is never changed in place."""

    run_id: str
    inputs_digest: str
    at: datetime


def put_receipt(
    store: Store,
    address: str,
    *,
    run_id: str,
    inputs_digest: str,
    observed_digest: str = "",
    generation: str = "",
    document: dict[str, Any] | None = None,
) -> None:
    """Keep this receipt in place of the address's earlier one."""
    with store.transaction() as connection:
        connection.execute(delete(receipts).where(receipts.c.address == address))
        connection.execute(
            insert(receipts).values(
                address=address,
                run_id=run_id,
                generation=generation,
                inputs_digest=inputs_digest,
                observed_digest=observed_digest,
                document=document or {},
                at=datetime.now(UTC),
            )
        )


def receipt(store: Store, address: str) -> Receipt | None:
    """The receipt of that address, if there is one."""
    with store.transaction() as connection:
        row = connection.execute(select(receipts).where(receipts.c.address == address)).one_or_none()
    return None if row is None else _receipt(row)


def receipts_under(store: Store, prefix: str) -> dict[str, Receipt]:
    """All receipts whose address begins so, by address."""
    query = select(receipts).where(receipts.c.address.startswith(prefix, autoescape=True))
    with store.transaction() as connection:
        return {row.address: _receipt(row) for row in connection.execute(query)}


def receipts_at(store: Store, addresses: Sequence[str]) -> dict[str, Receipt]:
    """The receipts of these addresses, by address; those without one are left out."""
    found: dict[str, Receipt] = {}
    with store.transaction() as connection:
        for start in range(0, len(addresses), ASKED_AT_ONCE):
            some = list(addresses[start : start + ASKED_AT_ONCE])
            rows = connection.execute(select(receipts).where(receipts.c.address.in_(some)))
            found.update({row.address: _receipt(row) for row in rows})
    return found


def versions_under(store: Store, prefix: str) -> dict[str, Version]:
    """The version of each receipt whose address begins so, by address; what is kept with them is not read."""
    query = select(receipts.c.address, receipts.c.run_id, receipts.c.inputs_digest, receipts.c.at).where(
        receipts.c.address.startswith(prefix, autoescape=True)
    )
    with store.transaction() as connection:
        return {
            address: Version(run_id, inputs_digest, aware(at))
            for address, run_id, inputs_digest, at in connection.execute(query)
        }


Documents = Mapping[str, Mapping[str, Any]]
"""What is kept with receipts, by address."""


def intend(store: Store, lease: Lease, addresses: Iterable[str], *, documents: Documents | None = None) -> None:
    """Put on disk that work begins at these addresses: what was proven of them holds no longer.

    ``documents`` are kept with the intents: what was known of earlier work, for whoever ends this one.

    Raises:
        RefusedError: a later writer has taken the site's lease.
    """
    _write(store, lease, dict.fromkeys(addresses, ""), documents or {})


def prove(store: Store, lease: Lease, digests: Mapping[str, str], *, documents: Documents | None = None) -> None:
    """Put on disk that the work at these addresses was done from inputs of these digests (errors as of ``intend``)."""
    _write(store, lease, digests, documents or {})


def _write(store: Store, lease: Lease, digests: Mapping[str, str], documents: Documents) -> None:
    if not digests:
        return
    shared = {"run_id": lease.run_id, "generation": "", "observed_digest": "", "at": datetime.now(UTC)}
    rows = [
        {"address": address, "inputs_digest": found, "document": dict(documents.get(address, {})), **shared}
        for address, found in sorted(digests.items())
    ]
    with store.transaction() as connection:
        require(connection, lease.site, lease.fencing_token)
        connection.execute(delete(receipts).where(receipts.c.address.in_(list(digests))))
        connection.execute(insert(receipts), rows)


def _receipt(row: Row[Any]) -> Receipt:
    return Receipt(
        address=row.address,
        run_id=row.run_id,
        generation=row.generation,
        inputs_digest=row.inputs_digest,
        observed_digest=row.observed_digest,
        document=dict(row.document),
        at=aware(row.at),
    )


def drop_receipt(store: Store, address: str) -> None:
    """Forget what is known of that address: the next run looks at the world."""
    with store.transaction() as connection:
        connection.execute(delete(receipts).where(receipts.c.address == address))


def drop_receipts(
    store: Store, lease: Lease, addresses: Iterable[str], *, moved: Mapping[str, str] | None = None
) -> None:
    """Forget what is known of these addresses; what is known of those in ``moved`` is kept under other ones.

    Raises:
        RefusedError: a later writer has taken the site's lease.
    """
    gone, renamed = list(addresses), moved or {}
    if not gone and not renamed:
        return
    with store.transaction() as connection:
        require(connection, lease.site, lease.fencing_token)
        connection.execute(delete(receipts).where(receipts.c.address.in_([*gone, *renamed.values()])))
        for old, new in renamed.items():
            connection.execute(update(receipts).where(receipts.c.address == old).values(address=new))
