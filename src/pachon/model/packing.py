"""Properties of a resource as one string beside its identity: what the engine and its SDK are given.

The SDK makes a task of every value, however deeply nested: two hundred resources took it four seconds of processor
time. Engines show the difference of two JSON strings as that of the values in them.
"""

import json
from collections.abc import Mapping
from typing import Any

DETAIL = "detail"
"""The property that holds all others, as JSON."""
PLAIN = frozenset({"address", "generation"})


def pack(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The same properties, all but address and generation inside ``detail``."""
    plain = {key: value for key, value in properties.items() if key in PLAIN}
    detail = {key: value for key, value in properties.items() if key not in PLAIN}
    return {**plain, DETAIL: json.dumps(detail, sort_keys=True, separators=(",", ":"))} if detail else plain


def unpack(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties as they were before ``pack``; what is not packed stays as it is."""
    plain = dict(properties)
    detail = plain.pop(DETAIL, None)
    return {**plain, **json.loads(detail)} if isinstance(detail, str) else dict(properties)
