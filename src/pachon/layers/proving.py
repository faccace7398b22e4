"""What the receipt of a role proves: that it need not be played, or why it has to be."""

from datetime import UTC, datetime, timedelta

from pachon import hostvars
from pachon.hostvars.registry import DAYS_PROVEN
from pachon.layers.role_trees import role_trees
from pachon.model.manifest import Manifest
from pachon.model.stamp import digest
from pachon.store.receipts import Receipt

GIVEN_DIGITS = 16
"""A first plan of two thousand hosts holds twenty thousand of these digests."""


def given_of(role: str, arguments: hostvars.Arguments) -> str:
    """Digest of what a role is played with."""
    return digest([role_trees()[role], arguments])[:GIVEN_DIGITS]


def reason_of(role: str, wanted: str, kept: Receipt | None, manifest: Manifest | None) -> str:
    """Why the role must be played, for people; empty if its receipt proves that it need not."""
    if kept is None:
        return "was never played here"
    if kept.is_intent:
        return f"run {kept.run_id} began it and did not end it well"
    if kept.inputs_digest != wanted:
        return "its text, its arguments, its secrets or the installation of the host changed"
    if manifest is None or not manifest.recorded:
        return "what it left there was never recorded"
    days = DAYS_PROVEN.get(role)
    if days is not None and datetime.now(UTC) - kept.at > timedelta(days=days):
        return f"was last played more than {days} days ago"
    return ""
