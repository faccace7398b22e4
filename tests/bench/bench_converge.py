"""``make bench-converge``: fifty hosts and a role of five tasks; who says soonest that there is nothing to change?

Ours against ansible-playbook (tuned: pipelining, 50 forks, no gathering), the same with mitogen, and pyinfra. Every
tool is started cold: a new process, no connection left open, nothing resident. Hosts are sshd's of their own on
addresses of their own (127.77.0.11 and so on, port 22), run by an ordinary user in namespaces that end with the bench;
sudo is a script there that does nothing, and all hosts share one kernel and one /srv, with a folder for each.

Ours is the hosts layer of ``pachon up`` (``tests.bench.converge.ours``): lease, digests against receipts, one probe a
host over SSH, a play of what is not right. The command itself also looks at hardware, which is not there. It plays the
same role as the others, mounted in the place of the product's own.

A run counts only if it was honest, else the bench fails: with nothing to change no file may be written, and a file that
was changed under each of 10 % of the hosts has to be put right, and nothing else touched.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

from infra.toolchain import children, virtualenv
from infra.toolchain.wheels import SYSTEM_PYTHON
from pachon import places
from pachon.model.stamp import digest
from pachon.progress import silent
from tests.bench.converge import accounts
from tests.bench.converge.contestants import OTHERS, OURS
from tests.bench.converge.inside import RUNS, Kind, Order, Run
from tests.bench.running import table

REQUIREMENTS = Path(__file__).parent / "converge" / "requirements.txt"
RESULTS = places.CHECKOUT / "build" / "bench-converge.jsonl"
INSTALL = timedelta(minutes=10)
LONGEST_SECONDS = 3600
TABLES: tuple[Kind, ...] = get_args(Kind)


def main() -> None:
    """Print the tables and one line of JSON."""
    parser = argparse.ArgumentParser(description="Race over 50 hosts on loopback.")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each tool; the table shows the median")
    parser.add_argument("--tools", nargs="*", default=OTHERS, choices=OTHERS, help="which race beside ours")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # what was made is then taken away
    runs = _raced(_pyinfra(), wanted.rounds, tuple(wanted.tools))
    _keep(runs)
    for kind in TABLES:
        sys.stdout.write(f"{kind}\n{table(HEADINGS, _rows(runs, kind))}\n")
    sys.stdout.write("wall and processor seconds, medians; served: a 'pachon serve' runs, in the tool's CPU\n")
    ours = _wall(runs, OURS, "nothing to change")
    ratio = {
        f"{tool}_to_ours": round(_wall(runs, tool, "nothing to change") / ours, 2)
        for tool in _tools(runs, "nothing to change")
        if tool != OURS
    }
    sys.stdout.write(json.dumps({"bench": "converge", "seconds": _seconds(runs), "ratio": ratio}) + "\n")


HEADINGS = ("tool", "wall", "tool's CPU", "hosts' CPU", "wall to ours", "load before")


def _rows(runs: Sequence[Run], kind: Kind) -> list[tuple[str, ...]]:
    ours = _wall(runs, OURS, kind)
    told: list[tuple[str, ...]] = []
    for tool in _tools(runs, kind):
        own = _of(runs, tool, kind)
        told.append(
            (
                tool,
                f"{_wall(runs, tool, kind):.2f}",
                _median([run.tool_cpu_seconds for run in own]),
                _median([run.endpoints_cpu_seconds for run in own]),
                f"{_wall(runs, tool, kind) / ours:.1f}",
                _median([run.load for run in own]),
            )
        )
    return told


def _tools(runs: Sequence[Run], kind: Kind) -> list[str]:
    return list(dict.fromkeys(run.tool for run in runs if run.kind == kind))


def _of(runs: Sequence[Run], tool: str, kind: Kind) -> list[Run]:
    return [run for run in runs if (run.tool, run.kind) == (tool, kind)]


def _wall(runs: Sequence[Run], tool: str, kind: Kind) -> float:
    return statistics.median(run.wall_seconds for run in _of(runs, tool, kind))


def _seconds(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    return {kind: {tool: round(_wall(runs, tool, kind), 3) for tool in _tools(runs, kind)} for kind in TABLES}


def _median(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.2f}" if known else "-"


def _keep(runs: Sequence[Run]) -> None:
    """Add every run to the results file."""
    RESULTS.parent.mkdir(exist_ok=True)
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    with RESULTS.open("a") as file:
        for run in runs:
            file.write(json.dumps({"at": moment, **run.model_dump(mode="json")}) + "\n")


def _pyinfra() -> Path:
    """pyinfra in a virtual environment of its own, kept in the cache."""
    cache = places.cache().absolute()
    home = cache / "bench" / f"pyinfra-{digest([REQUIREMENTS.read_text(), SYSTEM_PYTHON])[:16]}"
    program = home / "bin" / "pyinfra"
    if not program.exists():
        uv = str(virtualenv.installer(cache=cache, progress=silent))
        environment = children.variables(UV_CACHE_DIR=str(cache / "uv"), UV_NO_CONFIG="1", UV_PYTHON_DOWNLOADS="never")
        for argv in (
            (uv, "venv", "--quiet", "--clear", "--python", str(SYSTEM_PYTHON), str(home)),
            (uv, "pip", "sync", "--quiet", "--python", str(home / "bin/python"), "--require-hashes", str(REQUIREMENTS)),
        ):
            children.run(argv, timeout=INSTALL, environment=environment)
    return program


def _raced(pyinfra: Path, rounds: int, tools: tuple[str, ...]) -> list[Run]:
    """All runs; whatever happens, nothing is left of them on this machine."""
    used, served = accounts.opened("tool"), accounts.opened("endpoints")
    try:
        with tempfile.TemporaryDirectory(prefix="race-", dir="/tmp", ignore_cleanup_errors=True) as folder:
            order = Order(
                scratch=Path(folder),
                pyinfra=pyinfra,
                tool_account=used.folder,
                endpoints_account=served.folder,
                rounds=rounds,
                tools=tools,
            )
            file = order.scratch / "order.json"
            file.write_text(order.model_dump_json())
            _in_namespaces([sys.executable, "-m", "tests.bench.converge.inside", "prepare", str(file)])
            return RUNS.validate_json((order.scratch / "runs.json").read_bytes())
    finally:
        for account in (used, served):
            accounts.closed(account)


def _in_namespaces(argv: Sequence[str]) -> None:
    """Run it in namespaces that an ordinary user may make; its processes end with it, and it ends with this one."""
    own = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]
    process = subprocess.Popen([*own, "--", *argv], cwd=places.CHECKOUT, stdin=subprocess.DEVNULL)
    try:
        status = process.wait(LONGEST_SECONDS)
    finally:
        if process.poll() is None:
            process.kill()  # unshare takes no other signal while it waits, and takes the rest with it
            process.wait()
    if status != 0:
        raise SystemExit(f"the race ended with status {status}")


if __name__ == "__main__":
    main()
