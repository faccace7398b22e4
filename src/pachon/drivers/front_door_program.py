"""Runs on a front door: tells HAProxy by its runtime socket what to do with servers, and tells of all servers.

Sent over SSH and run as root (``pachon.drivers.front_door``); needs nothing but the standard library.
"""

import csv
import socket
import subprocess
from typing import Any

SECONDS = 10.0
FORCED_MAINTENANCE, FORCED_DRAIN = 0x01, 0x08
"""Bits of ``srv_admin_state`` that somebody has set; the others follow from elsewhere."""


def main(call: dict[str, Any]) -> dict[str, Any]:
    """The servers after the changes; ``missing``: such as are not there, and then nothing was changed."""
    try:
        servers = _servers(call["socket"])
        changes = call["changes"]
        known = {(server["backend"], server["name"]) for server in servers}
        missing = [change for change in changes if (change["backend"], change["name"]) not in known]
        said, kept = [], ""
        if changes and not missing:
            said = [told for change in changes for told in _change(call["socket"], change)]
            kept = _keep(call["keep"])
            servers = _servers(call["socket"])
    except OSError as error:
        return {"away": str(error)}
    return {"servers": servers, "missing": missing, "said": said, "not_kept": kept}


def _change(path: str, change: dict[str, Any]) -> list[str]:
    """Complaints of HAProxy about one change."""
    where = f"{change['backend']}/{change['name']}"
    commands = [] if change["weight"] is None else [f"set server {where} weight {change['weight']}"]
    commands += [f"set server {where} state {change['state']}"] if change["state"] else []
    answers = [_ask(path, command).strip() for command in commands]
    return [answer for answer in answers if answer]


def _keep(argv: list[str]) -> str:
    """What went wrong when it was written down; empty if nothing did."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"{argv[0]} was not through within {SECONDS:g} s"
    return "" if done.returncode == 0 else (done.stderr or f"status {done.returncode}").strip()


def _servers(path: str) -> list[dict[str, Any]]:
    """Every server of every backend."""
    stats = {(row["pxname"], row["svname"]): row for row in _rows(_ask(path, "show stat -1 4 -1"), ",")}
    found = []
    for row in _rows(_ask(path, "show servers state").partition("\n")[2], " "):
        stat = stats.get((row["be_name"], row["srv_name"]), {})
        found.append(
            {
                "backend": row["be_name"],
                "name": row["srv_name"],
                "address": f"{row['srv_addr']}:{row['srv_port']}",
                "admin": int(row["srv_admin_state"]),
                "up": row["srv_op_state"] != "0",
                "weight": int(row["srv_uweight"]),
                "declared_weight": int(row["srv_iweight"]),
                "check": " ".join(stat.get(key) or "" for key in ("check_status", "check_code", "last_chk")).split(),
                "connections": int(stat.get("scur") or 0),
            }
        )
    return found


def _rows(text: str, separator: str) -> list[dict[str, str]]:
    """Rows of a table whose first line begins with ``# `` and names the columns."""
    lines = [line for line in text.removeprefix("# ").splitlines() if line.strip()]
    return list(csv.DictReader(lines, delimiter=separator))


def _ask(path: str, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(SECONDS)
        link.connect(path)
        link.sendall(command.encode() + b"\n")
        return b"".join(iter(lambda: link.recv(65536), b"")).decode(errors="replace")
