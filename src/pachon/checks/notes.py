"""What a check has to say: a note about one address, from which the definition finds file and line."""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pachon.checks.spelling import did_you_mean

ANYTHING = "*"


@dataclass(frozen=True)
class Note:
    """One thing that is wrong with, or worth saying about, the thing at an address."""

    address: str
    """Such as ``base/host/base-batch01``; ``subject`` makes them."""
    message: str
    cure: str
    key: str = ""
    """The field of the thing that is wrong, where it is one."""
    occurrence: int = 0
    """Which one is meant when several things have this address."""
    missing: str = ""
    """The name that is referred to and not there; ``ANYTHING`` when it could be any of several."""
    severity: Literal["error", "warning"] = "error"


class Claim(NamedTuple):
    """A thing's claim to a value that only one may have."""

    value: Hashable
    address: str
    key: str


def subject(site: str, kind: str, *names: str) -> str:
    """Address of a thing of a site."""
    return "/".join((site, kind, *names))


def contested(what: str, claims: Iterable[Claim], *, cure: str) -> Iterator[Note]:
    """A note on every claim but the first to a value: ``what`` says what kind of value it is."""
    claims = list(claims)
    if len({claim.value for claim in claims}) == len(claims):
        return
    owner: dict[Hashable, str] = {}
    occurrences: Counter[str] = Counter()
    for value, address, key in claims:
        if value in owner:
            message = f"the {what} {_said(value)} is already that of {owner[value]}"
            yield Note(address, message, cure, key, occurrences[address])
        owner.setdefault(value, address)
        occurrences[address] += 1


def _said(value: Hashable) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def near(name: str, known: Collection[str], *, otherwise: str) -> str:
    """``did you mean 'x'?`` when a known name is near, else what is given."""
    return did_you_mean(name, known) or otherwise
