"""What a twin host has of the subjects that the probe asks for. Pure: (host, call, drift) to the probe's answer.

There are no files to be read: a subject has a value for each aspect that follows from the host and its name, always the
same, unless a fault says that it drifted. So what is recorded stays as it is without anything being kept.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

Drift = Mapping[str, Mapping[str, str]]
"""By ``kind:name``, aspects with what they are instead; ``is: absent`` takes the subject away."""
NO_DRIFT: Drift = {}
IS = "is"
ABSENT = "absent"


def answer(host: str, call: Mapping[str, Any], drift: Drift = NO_DRIFT) -> dict[str, Any]:
    """What the probe would say of a host that has this.

    Raises:
        KeyError: it is no call of the probe.
    """
    match call["mode"]:
        case "record":
            return {"values": [found(host, each, each["aspects"], drift) for each in call["subjects"]]}
        case "check":
            told = [_differences(host, each, drift) for each in call["subjects"]]
            return {"differences": [[number, each] for number, each in enumerate(told) if each]}
        case "sweep":
            return {"swept": []}
        case mode:
            raise KeyError(mode)


def found(host: str, subject: Mapping[str, Any], aspects: Sequence[str], drift: Drift) -> dict[str, Any]:
    """What is there of one subject."""
    kind, name = subject["kind"], subject["name"]
    other = drift.get(f"{kind}:{name}", {})
    if kind == ABSENT or other.get(IS) == ABSENT:
        return {IS: ABSENT}
    usual = {aspect: usual_value(host, f"{kind}:{name}", aspect) for aspect in aspects if aspect != "entries"}
    return {IS: kind, **usual, **other}


def _differences(host: str, subject: Mapping[str, Any], drift: Drift) -> dict[str, Any]:
    there = found(host, subject, [aspect for aspect in subject["values"] if aspect != IS], drift)
    return {key: there.get(key, "") for key, value in subject["values"].items() if there.get(key, "") != value}


@lru_cache(maxsize=1 << 16)
def usual_value(host: str, subject: str, aspect: str) -> str:
    """What a subject has of an aspect unless it drifted."""
    return hashlib.blake2b(f"{host} {subject} {aspect}".encode(), digest_size=8).hexdigest()
