"""What a change costs: the shipped lab gets one worker more and gives it up again; who was reached is read after."""

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from pachon.definition import load
from pachon.model.facility import Host
from tests.e2e import making
from tests.e2e.shipped import Copy

pytestmark = [pytest.mark.real, pytest.mark.timeout(1500)]
SITE, POOL = "archive", "batch-later"
NAME_SERVERS = {"archive-adm01", "base-adm01"}
"""The only hosts that have to be told of another one: each site's names are served by its admin host."""
WAIT_SECONDS = 300.0


@dataclass(frozen=True)
class Carried:
    """What a run of ``up`` came to, and whom it reached."""

    report: dict[str, Any]
    played: set[str]
    """Hosts that a play was begun on, by the run's events; the roles whose receipts were renewed are theirs alone."""
    probed: set[str]
    """Hosts that the probe looked at, by the store."""


@pytest.fixture(scope="module")
def grown(copy: Copy) -> Iterator[tuple[Copy, Host, Carried]]:
    """The lab after a planned pool of one worker was made active, the worker, and the run that brought it up."""
    was = {host.name for host in copy.active}
    file = copy.rig.definition / "sites" / SITE / "site.yaml"
    kept = file.read_text()
    making.activate_pool(copy.rig.definition, SITE, POOL)
    try:
        (new,) = (host for host in load(copy.rig.definition).site(SITE).active_hosts if host.name not in was)
        yield copy, new, _up(copy)
    finally:
        file.write_text(kept)


def test_one_worker_more_reaches_itself_and_the_name_servers_by_a_play_and_all_others_by_the_probe(
    grown: tuple[Copy, Host, Carried],
) -> None:
    copy, new, carried = grown
    assert carried.report["failures"] == []
    assert carried.played == {new.name, *NAME_SERVERS}
    assert carried.probed >= {host.name for host in copy.active}
    done = {host["name"]: host["done"] for host in carried.report["hosts"] if host["done"] != "unchanged"}
    assert done == {new.name: "created", **dict.fromkeys(NAME_SERVERS, "updated")}
    _wait_until_ready(copy, new)


def test_giving_it_up_again_leaves_what_the_definition_says(grown: tuple[Copy, Host, Carried]) -> None:
    copy, new, _ = grown
    making.plan_pool(copy.rig.definition, SITE, POOL)
    assert load(copy.rig.definition) == copy.facility
    carried = _up(copy, "--destroy", f"{SITE}/host/{new.name}")
    assert carried.report["failures"] == []
    assert carried.played == NAME_SERVERS
    plan = copy.rig.ask("plan")
    assert (plan["waves"], plan["envelopes"], list(plan["counts"])) == ([], [], ["none"])
    assert new.name not in " ".join(_workers(copy)), "Slurm has forgotten it"


def _up(copy: Copy, *words: str) -> Carried:
    before, seen = _kept(copy, "receipts", "address"), _kept(copy, "sightings", "host")
    told = len(copy.rig.events())
    report = copy.pachon("--json", "up", *words).value
    begun = [each for each in copy.rig.events()[told:] if (each["stage"], each["state"]) == ("hosts", "started")]
    played = {each["address"].rpartition("/")[2] for each in begun if "/host/" in each["address"]}
    renewed = _kept(copy, "receipts", "address") - before
    assert {address.split("/")[2] for address, _ in renewed if "/role/" in address} == played
    return Carried(report, played, {host for host, _ in _kept(copy, "sightings", "host") - seen})


def _kept(copy: Copy, table: str, key: str) -> set[tuple[str, str]]:
    """What a table of the store has, each with its moment."""
    with sqlite3.connect(f"file:{copy.rig.state / 'store.db'}?mode=ro", uri=True) as store:
        return {(str(name), str(at)) for name, at in store.execute(f"select {key}, at from {table}")}


def _wait_until_ready(copy: Copy, worker: Host) -> None:
    """Return when the site's Slurm says that the worker is ready for work."""
    until = time.monotonic() + WAIT_SECONDS
    while f"{worker.name} idle" not in (said := _workers(copy)):
        assert time.monotonic() < until, f"workers are {said}"
        time.sleep(1)


def _workers(copy: Copy) -> list[str]:
    """The site's workers as its Slurm has them, each with its state."""
    hosts = copy.facility.site(SITE).active_hosts
    controller = next(host.name for host in hosts if "slurm_controller" in host.groups)
    said = copy.rig.ssh(controller, "sinfo --noheader --Node --format='%N %T'")
    return [line.strip() for line in said.splitlines()]
