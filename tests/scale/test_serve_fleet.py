"""Planning and watching many hosts on the twin: nothing to change, drift, a change of one host, and a server killed.

At full size, and how long it takes: tests/bench/bench_scale.py.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.scale.fleet import POOLS, Fleet, subject_of

HOSTS = 3
"""In each pool; with all switches of the survey that makes some 180."""

PATIENCE_SECONDS = 240
TRIES = 4
"""A busy machine may let a host of the twin answer too late, which is said and is no fault."""
ONE = "archive-batch0001"
PATH = subject_of("base", 0)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    made = Fleet(tmp_path_factory.mktemp("fleet"))
    made.define(dict.fromkeys(POOLS, HOSTS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PACHON_STATE", str(made.state.parent))
        try:
            made.stand()
            yield made
        finally:
            made.down()


def ask(fleet: Fleet, *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, answer and talk of a command that all hosts answered in time."""
    for _ in range(TRIES):
        process = fleet.command(*words)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode in (0, 3, 4), err.decode()
        told = json.loads(out)
        if not told.get("unknown") and not any("is unknown" in note for note in told.get("notes", ())):
            break
    return process.returncode, told, err.decode()


def pending(plan: dict[str, Any]) -> list[str]:
    return [each["address"] for wave in plan["waves"] for each in wave["actions"]]


def serve(fleet: Fleet) -> subprocess.Popen[bytes]:
    """A server of all sites that has looked once at each."""
    process = fleet.command("serve", "--every", "300", cost="serve")
    assert process.stdout is not None
    looked: set[str] = set()
    while len(looked) < 3:
        line = process.stdout.readline()
        assert line, process.communicate()
        told = json.loads(line)
        if told["event"] == "round":
            looked.add(told["site"])
    return process


def test_many_hosts_are_planned_alike_cold_and_through_a_server_that_may_be_killed(fleet: Fleet) -> None:
    hosts = sum(len(site.active_hosts) for site in fleet.facility().sites)
    status, cold, _ = ask(fleet, "plan", "--exit-code")
    assert (status, pending(cold), cold["notes"]) == (0, [], [])

    fleet.change(ONE, {f"file:{PATH}": {"mode": "0666"}})
    status, drift, talk = ask(fleet, "drift")
    assert (status, drift["hosts"], talk.count("not used")) == (3, hosts, 0)
    (found,) = drift["drift"]
    assert (found["address"], found["aspect"], found["seen"]) == (f"archive/host/{ONE}/file:{PATH}", "mode", "0666")
    assert (found["role"], found["task"]) == ("base", "Configure 0")

    server = serve(fleet)
    try:
        status, known, _ = ask(fleet, "drift", "--known")
        assert (status, known["drift"]) == (3, drift["drift"])
        fleet.change(ONE, {})
        status, warm, talk = ask(fleet, "plan", "--exit-code")
        assert "not used" not in talk
        assert warm["seal"] == cold["seal"], "the same, only cheaper"
        state = ask(fleet, "status", "--wait", "60")[1]
        assert sum(site["served"]["open"] for site in state["sites"]) == hosts
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        status, again, talk = ask(fleet, "plan", "--exit-code")
        assert talk.count("'pachon serve' is not used: it was killed; looking without it") == 3
        assert again["seal"] == cold["seal"]
        server = serve(fleet)  # takes the sockets over
        assert "not used" not in ask(fleet, "drift")[2]
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_SECONDS) == 0
    finally:
        server.kill()
        server.wait()
        for stream in (server.stdout, server.stderr):
            if stream is not None:
                stream.close()


def test_a_change_of_one_host_is_all_that_is_planned(fleet: Fleet) -> None:
    fleet.outdate(ONE, "base")
    status, plan, _ = ask(fleet, "plan", "--exit-code")
    assert (status, pending(plan)) == (3, [f"archive/host/{ONE}/role/base"])
