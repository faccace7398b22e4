"""Where vendors depart from the standard: one row per (vendor, model), the most specific one wins.

Sources: DMTF DSP0266; the workarounds that OpenStack's sushy carries for the same machines.
"""

from typing import Literal

from pachon.model.base import Frozen


class Quirks(Frozen):
    """How one kind of BMC wants to be spoken to."""

    expand: bool = True
    """``$expand`` may be used where the service root offers it."""
    sessions: bool = False
    """Credentials go once, into a session, not with each request."""
    if_match: bool = False
    """A PATCH needs the resource's ETag in If-Match."""
    media_boot_target: Literal["Cd", "UsbCd"] = "Cd"
    """Boot target under which virtual media appears."""
    media_by_patch: bool = False
    """Virtual media is inserted by PATCH of the resource, not by an action."""
    media_protocol: bool = False
    """InsertMedia wants TransferProtocolType."""
    once_reads_continuous: bool = False
    """A boot source set for one boot is shown as Continuous."""
    asset_tag_on: Literal["system", "chassis"] = "system"
    """Resource with the writable AssetTag."""
    settle_seconds: float = 30.0
    """How long a write may take until a read shows it."""


STANDARD = Quirks()

TABLE: dict[tuple[str, str], Quirks] = {
    ("cisco", "c845a m8"): Quirks(media_protocol=True),
    ("dell", ""): Quirks(settle_seconds=90.0),
    ("hpe", ""): Quirks(sessions=True, settle_seconds=60.0),
    ("lenovo", ""): Quirks(if_match=True),
    ("lenovo", "sd530"): Quirks(if_match=True, media_by_patch=True),
    ("openstack", "sushy-tools"): Quirks(expand=False, once_reads_continuous=True),
    ("supermicro", ""): Quirks(if_match=True, media_boot_target="UsbCd"),
}
"""Lower-case vendor and model; an empty model stands for every other model of the vendor."""


def quirks_of(vendor: str, model: str) -> Quirks:
    """The row for a kind of machine: its model's, else its vendor's, else the standard."""
    maker, kind = vendor.lower().removesuffix(" inc.").strip(), model.lower().strip()
    return TABLE.get((maker, kind)) or TABLE.get((maker, "")) or STANDARD
