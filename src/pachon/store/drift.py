"""What is remembered of drift: since when each difference is seen, and which ones an owner has accepted."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pachon.store.database import Store
from pachon.store.receipts import drop_receipt, put_receipt, receipts_under

SEEN = "seen"
SINCE = "since"


@dataclass(frozen=True)
class Acceptance:
    """An owner's word that a difference may be, for a while."""

    address: str
    """``<site>/host/<host>/<kind>:<name>``."""
    reason: str
    by: str
    until: datetime
    seen: Mapping[str, str]
    """By aspect, what was accepted; anything else is drift again."""

    def covers(self, aspect: str, seen: str, *, now: datetime) -> bool:
        """Whether it still speaks for this."""
        return now < self.until and self.seen.get(aspect) == seen


def accept(store: Store, site: str, given: Acceptance) -> None:
    """Keep this acceptance in place of an earlier one of the same address."""
    name = hashlib.sha256(given.address.encode()).hexdigest()[:16]
    document = {
        "address": given.address,
        "by": given.by,
        "reason": given.reason,
        SEEN: dict(given.seen),
        "until": given.until.isoformat(),
    }
    put_receipt(store, f"{site}/accepted/{name}", run_id="", inputs_digest=name, document=document)


def accepted(store: Store, site: str) -> dict[str, Acceptance]:
    """All acceptances of a site, by address, whether or not they have ended."""
    kept = [each.document for each in receipts_under(store, f"{site}/accepted/").values()]
    return {
        each["address"]: Acceptance(
            address=each["address"],
            reason=each["reason"],
            by=each["by"],
            until=datetime.fromisoformat(each["until"]),
            seen=each[SEEN],
        )
        for each in kept
    }


def seen_since(store: Store, site: str, keys_by_host: Mapping[str, Iterable[str]]) -> dict[str, dict[str, datetime]]:
    """Since when each difference is seen, by host and key; what these hosts no longer have is forgotten."""
    known = receipts_under(store, f"{site}/drift/")
    now = datetime.now(UTC)
    told: dict[str, dict[str, datetime]] = {}
    for host, keys in keys_by_host.items():
        address = f"{site}/drift/{host}"
        before = known[address].document[SINCE] if address in known else {}
        after = {key: before.get(key, now.isoformat()) for key in sorted(set(keys))}
        if after and after != before:
            put_receipt(store, address, run_id="", inputs_digest=SINCE, document={SINCE: after})
        elif before and not after:
            drop_receipt(store, address)
        told[host] = {key: datetime.fromisoformat(each) for key, each in after.items()}
    return told
