"""Slots: a host has room for two instances of a service, ``a`` and ``b``; and what shares come to as weights. Pure.

A release takes the slot that the other one has not, on a port of its own, and is a server of its own at every front
door; so both can stand side by side, and a weight says which of them gets requests.
"""

from collections.abc import Mapping, Sequence

from pachon.errors import PermanentError, RefusedError
from pachon.model.instance import Slot

SLOTS: tuple[Slot, ...] = ("a", "b")
HEAVIEST = 256
"""The largest weight of a server of HAProxy."""


def server_of(instance: str, slot: Slot) -> str:
    """The name that front doors have for the instance in that slot."""
    return f"{instance}.{slot}"


def slot_of(taken: Mapping[Slot, str], version: str) -> Slot | None:
    """Where an instance of the version stands, given the version in each slot that is taken; None: nowhere."""
    return next((slot for slot in SLOTS if taken.get(slot) == version), None)


def slot_for(taken: Mapping[Slot, str], version: str, *, instance: str) -> Slot:
    """Where an instance of the version belongs: where it stands, or else in the first slot that is free.

    Raises:
        RefusedError: other versions have both.
    """
    there = slot_of(taken, version) or next((slot for slot in SLOTS if slot not in taken), None)
    if there is None:
        told = " and ".join(taken[slot] for slot in SLOTS)
        raise RefusedError(
            f"{instance} has {told}, and no room for {version}", cure="end the rollout that left both: 'rollout status'"
        )
    return there


def weights(shares_percent: Mapping[str, int], servers: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Weight of each server, given the servers of each version; of two versions the second one never gets more.

    Versions stand in the order in which they came, and the share of the one that takes over is rounded down: to the
    nearest that two weights can say. Servers of a version weigh the same, unless there are so many of the one that
    takes over that a weight of 1 each would be too much; then only some of them weigh anything.

    Raises:
        PermanentError: a version is to get requests and has no server, or nobody is to get any.
        ValueError: more than two versions are to get some, or shares do not add up to 100.
    """
    getting = {version: share for version, share in shares_percent.items() if share}
    if len(getting) > 2 or sum(getting.values()) != 100 or min(getting.values()) < 0:
        raise ValueError(f"no shares of two versions: {shares_percent}")
    for version, share in getting.items():
        if not servers.get(version):
            raise PermanentError(
                f"{share} % of the requests are to go to {version}, and nothing of it stands",
                cure="see 'pachon rollout status'",
            )
    found = {name: 0 for names in servers.values() for name in names}
    if len(getting) == 1:
        (version,) = getting
        return found | dict.fromkeys(servers[version], HEAVIEST)
    (staying, _), (coming, share) = getting.items()
    some = servers[coming][: _most_with_one(share, len(servers[staying]))]
    heavy, light = _nearest(share, staying=len(servers[staying]), coming=len(some))
    return found | dict.fromkeys(servers[staying], heavy) | dict.fromkeys(some, light)


def in_turn(now: Mapping[str, int], wanted: Mapping[str, int], *, coming: Sequence[str]) -> dict[str, int]:
    """The weights that have to change, in an order in which those who come never get more than before or after.

    Whoever is raised is raised before anybody is lowered, so that somebody always gets the requests.
    """
    first = {name: weight for name, weight in wanted.items() if name not in coming}
    then = {name: weight for name, weight in wanted.items() if name in coming}
    rising = [(name, weight) for part in (first, then) for name, weight in part.items() if weight > now[name]]
    falling = [(name, weight) for part in (then, first) for name, weight in part.items() if weight < now[name]]
    return dict([*rising, *falling])


def _most_with_one(share: int, staying: int) -> int:
    """How many servers with a weight of 1 are not too many beside those of the heaviest."""
    return HEAVIEST * staying * share // (100 - share)


def _nearest(share: int, *, staying: int, coming: int) -> tuple[int, int]:
    """Weights of each that stays and of each that comes: the most that is not over the share."""
    best = (HEAVIEST, 0)
    for heavy in range(HEAVIEST, 0, -1):
        light = min(HEAVIEST, heavy * staying * share // ((100 - share) * coming))
        if light * best[0] > best[1] * heavy:
            best = (heavy, light)
    return best
