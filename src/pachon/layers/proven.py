"""Hosts whose receipts were found to prove everything, remembered by a digest of all that this was judged from.

So a plan judges those hosts whose definition, roles, secrets, installation or receipts are others than before, and no
more. Nothing but such digests is remembered: a file that is gone, cut or garbled costs time, and never a wrong answer.
"""

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pydantic

from pachon import program_text
from pachon.hostvars.once import once
from pachon.hostvars.registry import DAYS_PROVEN
from pachon.layers.served import version
from pachon.model.facility import Facility, HostName
from pachon.model.stamp import digest
from pachon.store.database import Store
from pachon.store.receipts import Receipt, Version, receipts_at, receipts_under

FOLDER = "proven"


@dataclass(frozen=True)
class Kept:
    """What is remembered of a site's hosts, read once for all of them."""

    versions: Mapping[str, Version]
    """Of receipts, by address."""
    installations: Mapping[str, Sequence[str]]
    """By serial, the host keys that were made when the machine was last deployed: a new installation has others."""
    secrets: Mapping[str, str]
    """Digests by name."""
    receipts: Mapping[str, Receipt] = field(default_factory=dict)
    """Of the hosts that were asked for."""

    def with_receipts(self, store: Store, hosts: Collection[str]) -> "Kept":
        """The same with the receipts of the hosts at these addresses, all of one site."""
        wanted = set(hosts)
        addresses = [each for each in self.versions if each.rpartition("/role/")[0] in wanted]
        if 2 * len(addresses) <= len(self.versions):
            return replace(self, receipts=receipts_at(store, addresses))
        site = addresses[0].partition("/")[0]
        return replace(self, receipts=receipts_under(store, f"{site}/host/"))

    def key(self, basis: str, host: str, texts: Mapping[str, str], own: Sequence[Any]) -> str:
        """Digest of all that the host at this address is judged from; empty if some of it has worn off with time.

        ``basis``: what all hosts are judged by; ``texts``: of the host's roles; ``own``: what the host is made from.
        """
        now, judged = datetime.now(UTC), []
        for role, text in texts.items():
            kept, days = self.versions.get(f"{host}/role/{role}"), DAYS_PROVEN.get(role)
            if kept is not None and days is not None and now - kept.at > timedelta(days=days):
                return ""
            proof = None if kept is None else [kept.run_id, kept.inputs_digest, kept.at.isoformat()]
            judged.append([role, text, proof])
        return digest([basis, host, own, self.secrets, judged])


class Proven:
    """The digests of one site, in a file of the state folder."""

    def __init__(self, state: Path, site: str) -> None:
        self._path = state / FOLDER / site
        self._known = _read(self._path)

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def judged(self, keys: Mapping[HostName, str], *, well: Collection[HostName]) -> None:
        """Remember of all hosts of the site that these are well, and those that were known to be so already.

        Where that cannot be written down it is not remembered, nor where this process runs another program than the
        one that lies here, whose verdicts these would pass for.
        """
        wanted = frozenset(key for name, key in keys.items() if key and (key in self._known or name in well))
        if wanted == self._known:
            return
        self._known = wanted
        if not program_text.is_what_runs(*program_text.LOOKING):
            return
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
            draft.write_text("".join(f"{key}\n" for key in sorted(wanted)))
            draft.replace(self._path)


def _read(path: Path) -> frozenset[str]:
    try:
        return frozenset(path.read_text(errors="replace").split())
    except OSError:
        return frozenset()


@once
def judged_by(facility: Facility) -> str:
    """Digest of what all hosts are judged by: the definition, the program, and what it runs on."""
    return digest([facility.model_dump(mode="json"), version(), sys.version, pydantic.VERSION])
