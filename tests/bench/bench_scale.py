"""``make bench-scale``: the survey's 2,015 compute and database hosts on the twin, each with receipts of 50 tasks.

Plans with nothing to change, cold and through ``pachon serve``, and with one host to change: its receipt is of other
arguments than the definition gives it, once as it is and once with an edited file, which has the definition examined
and every host judged anew. A change of what a machine is made from would start the engine besides. What is measured is
the command line as a process of its own, which may open as many files as were asked for; the twin is another, counted
apart. All switches of the survey are there too,
since its segments lie on them; of storage hosts there is one a site.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from infra.lab import alive
from infra.lab.twin import instance
from infra.lab.twin.process import lock_path
from tests.bench.running import table
from tests.scale.fleet import POOLS, Fleet

SITES = 3
LIMITS = {"cold_cpu": 60, "warm_wall": 15, "change": 2, "rss_mib": 1536, "files": 2500}
"""What the project asks for."""
ONE = "archive-batch0001"


def main() -> None:
    """Print the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=0, help="in each pool, instead of the survey's numbers")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="bench-scale-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        fleet = Fleet(Path(folder))
        fleet.define(dict.fromkeys(POOLS, wanted.hosts) if wanted.hosts else {})
        os.environ["PACHON_STATE"] = str(fleet.state.parent)
        try:
            began = time.monotonic()
            hosts = fleet.stand()
            say(f"{hosts} hosts stand on the twin after {time.monotonic() - began:.0f} s")
            runs = measured(fleet)
        finally:
            fleet.down()
    say(table(HEADINGS, [row(name, run) for name, run in runs.items()]))
    cold, warm, change = (runs[name] for name in ("cold", "served", "served, one host to change"))
    ratio = {
        "cold_cpu_to_limit": round(cold["cpu_seconds"] / LIMITS["cold_cpu"], 2),
        "served_wall_to_limit": round(warm["wall_seconds"] / LIMITS["warm_wall"], 2),
        "change_beyond_observing_to_limit": round(change["beyond_seconds"] / LIMITS["change"], 2),
        "memory_to_limit": round(max(run["rss_mib"] for run in runs.values()) / LIMITS["rss_mib"], 2),
        "files_to_limit": round(max(run["most_open_files"] for run in runs.values()) / LIMITS["files"], 2),
    }
    say(json.dumps({"bench": "scale", "hosts": hosts, "runs": runs, "ratio": ratio}))


HEADINGS = ("what", "wall", "CPU", "twin's CPU", "beyond observing", "MiB", "files", "actions", "unknown")


def row(name: str, run: dict[str, Any]) -> tuple[object, ...]:
    """A line of the table."""
    figures = (run["wall_seconds"], run["cpu_seconds"], run["twin_cpu_seconds"], run.get("beyond_seconds", "-"))
    return (name, *figures, run["rss_mib"], run["most_open_files"], run.get("actions", "-"), run.get("unknown", "-"))


def measured(fleet: Fleet) -> dict[str, dict[str, Any]]:
    """What each run cost."""
    runs = {"cold": plan(fleet)}
    before = twin_cpu(fleet)
    server = serve(fleet)
    runs["serve, first look"] = server_cost(fleet, server, before)
    try:
        runs["served"] = plan(fleet)
        fleet.outdate(ONE, "base")
        runs["served, one host to change"] = plan(fleet)
        fleet.edit()
        runs["served, and an edited definition"] = plan(fleet)
        runs["serve, all of it"] = server_cost(fleet, server, before)
    finally:
        server.terminate()
        server.communicate()
    return runs


def plan(fleet: Fleet) -> dict[str, Any]:
    """What a plan cost, and what it is."""
    before, began = twin_cpu(fleet), time.monotonic()
    events = fleet.top / "events.jsonl"
    events.unlink(missing_ok=True)
    process = fleet.command("plan", "--events", str(events), files=LIMITS["files"])
    out, err = process.communicate()
    wall = time.monotonic() - began
    if process.returncode != 0:
        raise SystemExit(err.decode())
    made = json.loads(out)
    return {
        **fleet.cost(),
        "wall_seconds": round(wall, 2),
        "twin_cpu_seconds": round(twin_cpu(fleet) - before, 2),
        "beyond_seconds": round(wall - observing(err.decode()), 2),
        "actions": sum(len(wave["actions"]) for wave in made["waves"]),
        "unknown": len(made["notes"]),
    }


def observing(talk: str) -> float:
    """Seconds from the beginning of the first look to the end of the last one, as the command told them."""
    moments = [line.split() for line in talk.splitlines() if " observe " in line]
    begun = [float(words[0].rstrip("s")) for words in moments if "started" in words]
    ended = [float(words[0].rstrip("s")) for words in moments if "done" in words]
    return max(ended) - min(begun)


def serve(fleet: Fleet) -> subprocess.Popen[bytes]:
    """A server of all sites that has looked once at each."""
    process = fleet.command("serve", "--every", "600", cost="serve", files=LIMITS["files"])
    assert process.stdout is not None
    looked: set[str] = set()
    while len(looked) < SITES:
        line = process.stdout.readline()
        if not line:
            raise SystemExit(process.communicate()[1].decode())
        told = json.loads(line)
        if told["event"] == "round":
            looked.add(told["site"])
    return process


def server_cost(fleet: Fleet, server: subprocess.Popen[bytes], twin_before: float) -> dict[str, Any]:
    """What the server has cost so far."""
    seen = psutil.Process(server.pid)
    used, memory = seen.cpu_times(), seen.memory_info()
    return {
        "wall_seconds": round(time.time() - seen.create_time(), 2),
        "cpu_seconds": round(used.user + used.system, 2),
        "twin_cpu_seconds": round(twin_cpu(fleet) - twin_before, 2),
        "rss_mib": memory.rss >> 20,
        "most_open_files": seen.num_fds(),
    }


def twin_cpu(fleet: Fleet) -> float:
    """Seconds of processor that the twin has used."""
    pid = alive.holder(lock_path(instance.config_path(fleet.state)))
    assert pid is not None, "the twin stands"
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
