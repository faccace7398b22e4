"""The service with releases that ships, from one to the next in the shipped lab, under 50 requests a second.

Every kind of bad release, and kills at every step, are in ``faults/test_rollout_hosts.py`` on a lab of their own.
"""

import dataclasses
import shutil
import time
from urllib.parse import urlencode

import pytest
import yaml

from pachon.places import CHECKOUT
from tests.e2e import rolling
from tests.e2e.rig import Rig, at, kill
from tests.e2e.shipped import Copy
from tests.e2e.users import Users, asking

pytestmark = [pytest.mark.real, pytest.mark.timeout(1500)]
SITE = "archive"
OLD, NEW = "1.0.0", "1.0.1"
PACE = {"first_share_percent": 4, "soak_seconds": 3, "check_seconds": 1, "start_seconds": 60}
"""What ships judges each share for five minutes."""
AFTER_SECONDS = 1.0


def hurried(copy: Copy) -> Rig:
    """The same facility by a catalogue that differs in the pace of this service's rollouts."""
    inventory = copy.rig.top / "inventory"
    folder = inventory / "facilities" / copy.rig.name
    shutil.copytree(copy.rig.definition, folder)
    shutil.copytree(CHECKOUT / "inventory" / "catalogue", inventory / "catalogue")
    file = inventory / "catalogue" / rolling.SERVICE / "rollout.yaml"
    rules = yaml.safe_load(file.read_text()) | {"pace": PACE}
    rules["strategy"] = {"kind": "canary", "shares_percent": [5, 100]}
    file.write_text(yaml.safe_dump(rules, sort_keys=False))
    return dataclasses.replace(copy.rig, settings={**copy.rig.settings, "PACHON_FACILITY": str(folder)})


def users(copy: Copy) -> Users:
    """Users who come in by the site's front door from outside the facility."""
    door = next(host for host in copy.facility.site(SITE).active_hosts if "front_door" in host.groups)
    query = urlencode({"LANG": "ADQL", "FORMAT": "csv", "QUERY": rolling.LOAD})
    name = f"{rolling.SERVICE}.{SITE}.{copy.facility.domain}"
    trust = copy.rig.state / "pki" / SITE / "ca.crt"
    return Users(str(copy.machine(door).management_address), name, f"/tap/sync?{query}", trust)


def now(copy: Copy) -> set[str]:
    """What answers users now."""
    with asking(users(copy)) as asked:
        time.sleep(AFTER_SECONDS)
    assert asked.failed == []
    return set(asked.by_server())


def test_a_release_comes_without_a_failed_request_though_its_controller_is_killed(copy: Copy) -> None:
    rig = hurried(copy)
    assert now(copy) == {f"tap/{OLD}"}
    with asking(users(copy)) as asked:
        kill(rig.start_until(at("rollout", says="watch", state="moving"), rolling.start(NEW)))
        rig.run(rolling.start(NEW))
        time.sleep(AFTER_SECONDS)
    assert asked.failed == []
    assert set(asked.by_server()) == {f"tap/{OLD}", f"tap/{NEW}"}
    told = rig.ask("rollout", "status", rolling.SERVICE)
    assert told["state"] == "done"
    assert {step["outcome"] for step in told["steps"]} == {"done"}
    assert sum(step["attempts"] - 1 for step in told["steps"]) >= 1, "it was killed too late"
    assert now(copy) == {f"tap/{NEW}"}


def test_up_after_a_rollout_leaves_the_release_that_is_in_force(copy: Copy) -> None:
    report = copy.pachon("--json", "up").value
    assert (report["failures"], report["changes"]) == ([], {})
    assert {host["done"] for host in report["hosts"]} == {"unchanged"}
    assert now(copy) == {f"tap/{NEW}"}
