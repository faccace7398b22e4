"""Instances of services on hosts, as rollouts have them: which version each slot of a host is to have."""

from typing import Literal

from pachon.model.base import Frozen

Version = str
Setting = str | int | float | bool
Slot = Literal["a", "b"]
"""A host has room for two instances of a service, so that a release can stand beside the one before it."""


class Standing(Frozen):
    """What a slot of a host is to have."""

    service: str
    site: str
    enclave: str
    host: str
    slot: Slot
    version: Version
    """Empty: nothing."""
    digest: str
    """Of the release."""


class Instance(Frozen):
    """An instance with what the roles of its host are told of it."""

    service: str
    enclave: str
    host: str
    slot: Slot
    version: Version
    """Empty: the slot is to be empty."""
    digest: str
    arguments: dict[str, dict[str, Setting]]
    """By role; of an empty slot the roles only."""
