"""What each hardware stack exports: one typed document, read by whoever comes after it."""

from typing import Any, Literal

from pachon.model.base import Frozen

DOCUMENT = "document"
"""Name of the one output of a stack: a ``StackDocument`` as JSON text."""


class ResourceFacts(Frozen):
    """One resource as it came out: its address, its generation, and what its provider says of it."""

    address: str
    generation: str
    facts: dict[str, Any]
    """Inputs and what was observed, as the provider gave them back."""


class StackDocument(Frozen):
    """The export of a hardware stack."""

    schema_version: Literal[1] = 1
    stack: Literal["network", "compute", "storage"]
    facility: str
    site: str
    machines: tuple[ResourceFacts, ...] = ()
    hosts: tuple[ResourceFacts, ...] = ()
    networks: tuple[ResourceFacts, ...] = ()
    volumes: tuple[ResourceFacts, ...] = ()
