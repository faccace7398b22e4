"""Plays on a real lab of two machines: killed in the middle, failing on one of them, and made undone by hand.

The next run must take up what the killed one left without a person's help, the handlers included that it owed; a host
that fails must stop nobody else. The tests share one lab, in this order.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import ansible_mitogen
import pytest

from tests.e2e import making
from tests.e2e.rig import BIN, PACHON, Rig, Told, at, kill, processes_with, rig

pytestmark = [pytest.mark.faults, pytest.mark.real, pytest.mark.timeout(1200)]

NAME = "t-play"
FIRST, SECOND = making.host(NAME, 1), making.host(NAME, 2)
PEOPLE = "people:\n  - {name: ana, title: Ana of the test, uid: 10001}\n"
LISTED = "/etc/pachon/people.json"
BOB = "  - {name: bob, title: Bob of the test, uid: 10002}\n"


@pytest.fixture(scope="module")
def pair() -> Iterator[Rig]:
    """Two servers that one person has an account on, on a lab that does not stand yet."""
    with rig(NAME) as made:
        making.small(made.definition, name=NAME, network="198.19.48")
        with (made.definition / "facility.yaml").open("a") as file:
            file.write(PEOPLE)
        yield made


def list_changed(event: Told) -> bool:
    """Whether the list of people was just written on the second host, and its accounts are yet to be made."""
    told = at("hosts", address=SECOND, state="moving", says="people: ")(event)
    return told and event["message"].endswith(": changed") and "handler" not in event["message"]


def kill_all(made: Rig, point: Callable[[Told], bool]) -> str:
    """Name of a run that was killed there together with all that it had started."""
    process = made.start_until(point, [PACHON, "up"])
    run = str(made.events()[-1]["run"])
    for line in processes_with(f"PACHON_RUN_ID={run}"):
        with suppress(ProcessLookupError):
            os.kill(int(line.split()[0]), signal.SIGKILL)
    kill(process)
    return run


def accounts(made: Rig, host: str) -> set[str]:
    """People that have an account on the host."""
    return {line.split(":")[0] for line in made.ssh(host, "getent passwd").splitlines()} & {"ana", "bob"}


def assert_settled(made: Rig) -> None:
    """Every role of every host has a receipt that holds, and a run says so and plays nothing."""
    report = made.ask("up")
    assert (report["changed"], report["failures"]) == (False, [])
    assert report["roles"]["create"] == report["roles"]["update"] == 0
    assert report["roles"]["in order"] > 0
    assert f"the receipts of {report['roles']['in order']} roles on 2 hosts hold" in report["why"]


def test_killed_between_a_task_and_its_handler_the_next_run_runs_the_handler(pair: Rig) -> None:
    dead = kill_all(pair, list_changed)
    report = pair.ask("up")
    assert report["failures"] == []
    assert accounts(pair, FIRST) == accounts(pair, SECOND) == {"ana"}
    assert processes_with(f"PACHON_RUN_ID={dead}") == []
    assert_settled(pair)


def test_a_change_that_was_killed_twice_on_its_way_arrives(pair: Rig) -> None:
    with (pair.definition / "facility.yaml").open("a") as file:
        file.write(BOB)
    dead = [kill_all(pair, list_changed)]
    dead.append(pair.kill_at(at("hosts", state="moving")))  # what it had started lives on: the next run ends it
    assert pair.ask("up")["failures"] == []
    assert accounts(pair, FIRST) == accounts(pair, SECOND) == {"ana", "bob"}
    for run in dead:
        assert processes_with(f"PACHON_RUN_ID={run}") == []
    assert_settled(pair)


def test_a_host_that_fails_stops_nobody_else(pair: Rig) -> None:
    path = pair.definition / "facility.yaml"
    path.write_text(path.read_text().replace("Bob of the test", "Bob"))
    pair.ssh(FIRST, f"sudo rm {LISTED} && sudo mkdir -p {LISTED}/in-the-way")
    report = pair.ask("up", status=6)
    assert [failure["address"] for failure in report["failures"]] == [f"here/host/{FIRST}"]
    assert "role people" in report["failures"][0]["error"]
    assert {host["name"]: host["done"] for host in report["hosts"]} == {FIRST: "failed", SECOND: "updated"}
    pair.ssh(FIRST, f"sudo rm -r {LISTED}")
    assert pair.ask("up")["failures"] == []
    assert_settled(pair)


def test_a_sealed_plan_is_refused_once_the_definition_moved_and_is_else_carried_out_whole(pair: Rig) -> None:
    path, plan = pair.definition / "facility.yaml", str(pair.top / "plan.json")
    before = path.read_text()
    path.write_text(before.replace("Ana of the test", "Ana"))
    planned = pair.ask("plan", "--out", plan, "--exit-code", status=3)
    assert planned["counts"]["update"] == 2
    path.write_text(before)
    assert (
        "moved since it was made: the definition (what all sites share)" in pair.ask("apply", plan, status=5)["error"]
    )
    path.write_text(before.replace("Ana of the test", "Ana"))
    report = pair.ask("apply", plan)
    assert (report["failures"], report["plan"], report["roles"]["update"]) == ([], planned["seal"], 2)
    again = pair.ask("plan", "--exit-code")
    assert (again["waves"], again["envelopes"]) == ([], [])


def test_what_is_changed_by_hand_is_named_with_its_owner_and_put_right(pair: Rig) -> None:
    ways_in = "/etc/ssh/pachon/sshd.d/10-people.conf"
    by_hand = (
        f"echo '[]' > {LISTED}",
        f"chmod 0600 {ways_in}",
        "systemctl stop ulogd2.service",
        "touch /etc/sudoers.d/stranger",
    )
    pair.ssh(FIRST, f'sudo sh -ec "{"; ".join(by_hand)}"')
    report = pair.ask("drift", status=3)
    assert (report["hosts"], report["unknown"], report["inexpressible"]) == (2, [], [])
    found = {each["address"]: (each["aspect"], each["role"], each["task"]) for each in report["drift"]}
    here = f"here/host/{FIRST}"
    assert found == {
        f"{here}/file:{LISTED}": ("content", "people", "List the people"),
        f"{here}/file:{ways_in}": ("mode", "people", "Let people and automation in from where they may come"),
        f"{here}/unit:ulogd2.service": ("running", "firewall", "Restart the log of what was refused"),
        f"{here}/file:/etc/sudoers.d/stranger": ("stranger", "base", "Make the folders"),
    }
    report = pair.ask("up")
    assert report["failures"] == []
    assert {host["name"]: host["done"] for host in report["hosts"]} == {FIRST: "updated", SECOND: "unchanged"}
    assert pair.ask("drift")["drift"] == []
    assert_settled(pair)


def test_plain_ansible_finds_nothing_to_change_where_up_has_been(pair: Rig) -> None:
    """All of each role this time, also what images bring, over the inventory that people use."""
    pair.pachon("up")
    strategies = Path(ansible_mitogen.__file__).parent / "plugins" / "strategy"
    quickly = {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": str(strategies)}
    pair.settings.update({**quickly, "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"})
    done = pair.run([str(BIN / "ansible-playbook"), "-i", "inventory/hosts", "playbooks/site.yml", "--check"])
    recap = [line for line in done.out.splitlines() if " changed=" in line]
    assert len(recap) == 2, done
    assert all(" changed=0 " in line and " failed=0 " in line for line in recap), done
