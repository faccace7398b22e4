"""Where things are kept on this machine: the cache outside the checkout and the state of each facility.

Only this module reads PACHON_CACHE, PACHON_STATE and PACHON_HARDWARE.
"""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def cache() -> Path:
    """Folder of what may be lost but is dear to make again: programs, images. PACHON_CACHE moves it."""
    return Path(os.environ.get("PACHON_CACHE") or Path.home() / ".cache" / "pachon")


def state(facility: str) -> Path:
    """Folder of one facility's store, keys, secrets, Pulumi state and lab. PACHON_STATE moves its parent."""
    return Path(os.environ.get("PACHON_STATE") or Path.home() / ".local" / "state" / "pachon") / facility


def hardware() -> str:
    """What stands behind every facility as seen from this machine; empty: what its definition says.

    A controller inside a site says ``racks`` (PACHON_HARDWARE): the machines around it are real to it.
    """
    return os.environ.get("PACHON_HARDWARE") or ""
