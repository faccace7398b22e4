"""What a trace says: hops, stops and a verdict."""

from typing import Literal

from pachon.model.base import Frozen
from pachon.model.facility import HostName, SiteName

Network = Literal["data", "management"]
Verdict = Literal["allowed", "refused", "broken"]
Kind = Literal["host", "cable", "switch", "gateway", "link", "flow"]


class Hop(Frozen):
    """One thing on the way."""

    kind: Kind
    site: SiteName
    name: str
    about: str
    """For people: NIC and address, both ends of a cable, ports and bridge of a switch, rate and delay of a link."""


class Stop(Frozen):
    """One thing that stops it."""

    where: str
    why: str
    cure: str
    """What would be right."""


class Trace(Frozen):
    """A way between two hosts, and whether it carries."""

    source: HostName
    target: HostName
    port: str
    """Such as ``tcp/22``; empty: whatever is open."""
    network: Network
    source_address: str
    target_address: str
    verdict: Verdict
    """``refused``: no flow allows it; ``broken``: something on the way is missing."""
    allowed_by: str
    """What allows it, or empty."""
    open_ports: tuple[str, ...]
    """What is open from the one to the other; ``any`` is everything."""
    hops: tuple[Hop, ...]
    """In the order of a packet's way, as far as it comes."""
    stops: tuple[Stop, ...]
