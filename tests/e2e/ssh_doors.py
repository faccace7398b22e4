"""What outsiders meet at the SSH of hosts: the auditor of the field, and people with certificates of their own."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.rig import BIN

AT_ONCE = 4
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt."""

    status: int
    out: str
    err: str


def weaknesses(addresses: Iterable[str]) -> dict[str, list[str]]:
    """What ssh-audit calls a failure, by address; hosts without one are left out."""
    listed = list(addresses)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(zip(listed, pool.map(_audited, listed), strict=True))
    return {address: failures for address, failures in found.items() if failures}


def _audited(address: str) -> list[str]:
    argv = [str(BIN / "ssh-audit"), "--skip-rate-test", "--json", "--timeout", "60", address]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    try:
        report: Mapping[str, Any] = json.loads(done.stdout)
    except ValueError:
        return [f"no report: {done.stdout}{done.stderr}"]
    kinds = ("kex", "key", "enc", "mac")
    offered = [(kind, each) for kind in kinds for each in report.get(kind, [])]
    if not {kind for kind, _ in offered} >= set(kinds):
        return [f"no whole report: {done.stdout}"]
    failed = [f"{kind} {each['algorithm']}: {note}" for kind, each in offered for note in each["notes"].get("fail", [])]
    return [*failed, *(str(cve) for cve in report.get("cves", []))]


def new_key(folder: Path, name: str) -> Path:
    """The public half of a key of a person's own."""
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_name(f"{name}.pub")


def attempt(config: Path, *words: str) -> Outcome:
    """What ``ssh`` with this configuration, beside an agent that it could forward, came to; it never asks."""
    argv = ["ssh-agent", "ssh", "-F", str(config), "-o", "BatchMode=yes", "-o", "ConnectTimeout=60", *words]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    return Outcome(done.returncode, done.stdout.strip(), done.stderr.strip())
