"""The course of a deploy, by values alone."""

from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address

import pytest

from infra.boot import deploys
from infra.boot.deploys import RefusalError
from infra.boot.orders import Deploy, Hello, InventoryFound, MachineSettings, State
from pachon.errors import RefusedError
from pachon.model.lifecycle import MachineEvent, MachineState, after, may_sign_host_keys

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    told: str
    change: dict[str, object]
    source: str
    fails: bool
    says: str


MACHINE = MachineSettings(
    serial="SN1",
    mac="52:54:00:60:00:01",
    address=IPv4Address("198.19.60.11"),
    bmc_address=IPv4Address("198.19.61.11"),
    rack="r1",
)
INVENTORY = InventoryFound(cpus=1, memory_mib=512, disks=(), nics=())
HELLO = Hello(
    serial="SN1",
    uuid="u",
    macs=("52:54:00:60:00:01",),
    clock_unix=NOW.timestamp() + 10,
    session="s1",
    inventory=INVENTORY,
)


def waiting() -> Deploy:
    return Deploy(
        id="d1",
        serial="SN1",
        host="h",
        generation="g",
        rack="r1",
        state=State.WAITING,
        since=NOW,
        token_sha256=deploys.digest("token"),
    )


def greet(record: Deploy, hello: Hello = HELLO, *, source: str = "198.19.60.11") -> Deploy:
    return deploys.greeted(record, hello, machine=MACHINE, source=source, clock_unix=NOW.timestamp(), skew_seconds=300)


@pytest.mark.parametrize(
    "case",
    [
        Case("another serial", {"serial": "SN9"}, "198.19.60.11", True, "says its serial is 'SN9'"),
        Case("another NIC", {"macs": ("52:54:00:99:99:99",)}, "198.19.60.11", True, "has no NIC"),
        Case("a clock ahead", {"clock_unix": NOW.timestamp() + 4000}, "198.19.60.11", True, "4000 s ahead"),
        Case("a clock of 1970", {"clock_unix": 0.0}, "198.19.60.11", True, "1970-01-01T00:00:00"),
        Case("another address", {}, "198.19.60.99", False, "asked for from 198.19.60.99"),
    ],
    ids=lambda case: case.told,
)
def test_only_the_machine_itself_gets_orders(case: Case) -> None:
    with pytest.raises(RefusalError, match=case.says) as caught:
        greet(waiting(), HELLO.model_copy(update=case.change), source=case.source)
    assert caught.value.fails is case.fails
    assert caught.value.cure


def test_repeated_hello_of_the_same_run_gets_the_same_orders_and_another_run_gets_none() -> None:
    record = greet(waiting())
    assert record.state is State.DEPLOYING
    assert greet(record) == record
    with pytest.raises(RefusalError, match="used already") as caught:
        greet(record, HELLO.model_copy(update={"session": "s2"}))
    assert not caught.value.fails


def test_what_was_not_proven_by_hello_is_not_heard() -> None:
    with pytest.raises(RefusalError):
        deploys.heard(waiting(), session="s1")
    record = greet(waiting())
    deploys.heard(record, session="s1")
    with pytest.raises(RefusalError):
        deploys.heard(record, session="s2")


def test_host_keys_are_offered_once() -> None:
    record = deploys.keyed(greet(waiting()), host_keys=["a"])
    assert deploys.keyed(record, host_keys=["a"]) == record
    for other in (["b"], []):
        with pytest.raises(RefusalError):
            deploys.keyed(record, host_keys=other)


def test_deploy_of_the_same_generation_is_not_begun_again_unless_it_failed() -> None:
    record = greet(waiting())
    done = deploys.finished(record, phases={})
    assert deploys.still_good(record, "g")
    assert deploys.still_good(done, "g")
    assert not deploys.still_good(done, "other")
    assert not deploys.still_good(deploys.failed(record, error="e", cure="c"), "g")
    assert not deploys.still_good(None, "g")


@pytest.mark.parametrize("state", [State.WAITING, State.FETCHED, State.DEPLOYING])
def test_silence_says_what_was_last_heard_and_what_to_look_at(state: State) -> None:
    record = deploys.silenced(waiting().model_copy(update={"state": state, "phase": "image"}), seconds=180)
    assert record.state is State.FAILED
    assert "180 s" in record.error
    assert "console" in record.cure or "BMC" in record.cure


def test_an_ended_deploy_stays_as_it_ended() -> None:
    done = deploys.finished(greet(waiting()), phases={"image": 1.0})
    assert deploys.failed(done, error="late", cure="") == done
    assert deploys.fetched(done) == done


def test_life_of_a_machine_from_the_racks_to_a_host_and_back() -> None:
    course = [
        MachineEvent.INSPECT,
        MachineEvent.CONFIGURE,
        MachineEvent.DEPLOY,
        MachineEvent.ARRIVE,
        MachineEvent.DRAIN,
        MachineEvent.CLEAN,
        MachineEvent.CLEANED,
        MachineEvent.DEPLOY,
        MachineEvent.FAIL,
        MachineEvent.QUARANTINE,
        MachineEvent.RETIRE,
    ]
    state = MachineState.ENROLLED
    signing = []
    for event in course:
        state = after(state, event)
        signing.append(may_sign_host_keys(state))
    assert state is MachineState.RETIRED
    assert [course[at] for at, may in enumerate(signing) if may] == [MachineEvent.DEPLOY, MachineEvent.DEPLOY]


def test_a_host_in_use_is_not_retired_and_the_refusal_names_what_is_possible() -> None:
    with pytest.raises(RefusedError, match="possible are: drain, fail"):
        after(MachineState.ACTIVE, MachineEvent.RETIRE)
