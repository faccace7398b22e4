"""Rollouts of a real service on a real lab under 50 requests a second, with kills of their controller.

A good release fails no request; a bad one goes back by itself, costs at most 1 % of them, and is held. All of it is of
``make faults``: in every run one release comes to the shipped lab (``e2e/test_rollout.py``).
"""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import rolling
from tests.e2e.rig import PATIENCE_SECONDS, Told, at, kill
from tests.e2e.rolling import Rolling
from tests.e2e.users import Users, asking

ALL = os.environ.get("PACHON_FAULTS") == "all"
pytestmark = [
    pytest.mark.real,
    pytest.mark.faults,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not ALL, reason="in every run a release comes to the shipped lab (e2e/test_rollout.py)"),
]
KILLS = (
    ("hosts", "", "started"),
    *(("rollout", verb, state) for verb in rolling.VERBS for state in ("moving", "done")),
)
"""Stage, beginning of the message and state of the events at which controllers are killed, one after the other."""
BAD = [
    ("2.0.0", "errs", "errors: "),
    ("2.1.0", "crashes", "does not come up"),
    ("2.2.0", "fails-smoke", "smoke test"),
]
"""Version, kind, and what is said of why it goes back."""
Kills = tuple[tuple[str, str, str], ...]
AFTER_SECONDS = 1.0


@pytest.fixture(scope="module")
def rig() -> Iterator[Rolling]:
    with rolling.standing(rolling.NAME, network=rolling.NETWORK) as made:
        yield made


def rolled_out(rig: Rolling, version: str, kind: str, *, kills: Kills = ()) -> tuple[Users, Any]:
    """Users, and what the rollout came to after these kills."""
    rolling.add_release(rig, version, kind)
    with asking(rig.users()) as users:
        time.sleep(AFTER_SECONDS)
        for stage, says, state in kills:
            kill(rig.start_until(at(stage, says=says, state=state), rolling.start(version)))
        rig.run(rolling.start(version), status=None)  # refused where the last kill came too late: it is there already
        time.sleep(AFTER_SECONDS)
    return users, rig.ask("rollout", "status", rolling.SERVICE)


def now(rig: Rolling) -> set[str]:
    """What answers users now."""
    with asking(rig.users()) as users:
        time.sleep(AFTER_SECONDS)
    assert users.failed == []
    return set(users.by_server())


def played(rig: Rolling) -> list[Told]:
    """What ``up`` plays on hosts."""
    known = len(rig.events())
    rig.pachon("up")
    return [each for each in rig.events()[known:] if each["stage"] == "hosts" and "/host/" in each["address"]]


def test_a_good_release_fails_no_request_though_its_controller_is_killed_again_and_again(rig: Rolling) -> None:
    users, told = rolled_out(rig, "1.1.0", "good", kills=KILLS)
    assert users.failed == []
    assert told["state"] == "done"
    assert {"tap/1.0.0", "tap/1.1.0"} <= set(users.by_server())
    assert [step["number"] for step in told["steps"]] == list(range(1, 1 + told["steps_in_all"]))
    assert {step["outcome"] for step in told["steps"]} == {"done"}
    assert sum(step["attempts"] - 1 for step in told["steps"]) >= 1
    assert now(rig) == {"tap/1.1.0"}
    assert played(rig) == []


@pytest.mark.parametrize(("version", "kind", "said"), BAD)
def test_a_bad_release_goes_back_by_itself_costs_at_most_one_percent_and_is_held(
    rig: Rolling, version: str, kind: str, said: str
) -> None:
    before = now(rig)
    users, told = rolled_out(rig, version, kind)
    assert (told["state"], told["wanted_by"]) == ("rolled back", "pachon")
    assert said in told["wanted_why"]
    assert 100 * len(users.failed) <= users.sent, users.failed
    assert all(version in each for each in users.failed)
    assert now(rig) == before
    again = rig.run(rolling.start(version), status=5)
    assert f"{version} is held" in again.out + again.err


def test_without_its_prometheus_a_rollout_waits_says_for_what_and_goes_on(rig: Rolling) -> None:
    rolling.add_release(rig, "1.3.0", "good")
    before = now(rig)
    weighed = at("rollout", says="weigh", state="done")
    with asking(rig.users()) as users:
        process = rig.start_until(weighed, rolling.start("1.3.0"))
        rig.ssh(rolling.MEASURING, "sudo -n systemctl stop prometheus")
        try:
            waits = waited_for(rig, "Prometheus")
            assert now(rig) >= before, "the old release serves meanwhile"
        finally:
            rig.ssh(rolling.MEASURING, "sudo -n systemctl start prometheus")
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert "does not answer" in waits
    assert process.returncode == 0, out + err
    assert users.failed == []
    assert now(rig) == {"tap/1.3.0"}


def waited_for(rig: Rolling, what: str) -> str:
    """What the rollout says that it waits for, once that is about this."""
    end = time.monotonic() + PATIENCE_SECONDS
    while what not in (waits := str(rig.ask("rollout", "status", rolling.SERVICE, status=None)["waits"])):
        assert time.monotonic() < end, f"it waits for {waits!r}"
        time.sleep(0.5)
    return waits
