"""Receipts: proof of what a finished piece of work left behind, by which a run knows that nothing is to be done."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, insert, select

from pachon.store.database import Store, aware
from pachon.store.tables import receipts


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
    if row is None:
        return None
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
