import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from pachon.errors import LeaseHeldError, RefusedError
from pachon.processes import run_group
from pachon.processes.holder import proven_dead, started_ticks, this_process
from pachon.store.database import Store, open_store
from pachon.store.lease import acquire, first_token, heartbeat, hold, holder_of, release, require
from pachon.store.tables import leases

HOLDER = """
import sys, time
from pachon.store.database import open_store
from pachon.store.lease import acquire
lease = acquire(open_store(sys.argv[1]), "base", facility="f", command="pachon up", run_id=sys.argv[2])
print(lease.fencing_token, flush=True)
time.sleep(600)
"""

RACER = """
import sys
from pachon.errors import LeaseHeldError
from pachon.store.database import open_store
from pachon.store.lease import acquire
try:
    print(acquire(open_store(sys.argv[1]), "base", facility="f", command="race").fencing_token)
except LeaseHeldError:
    print("held")
sys.stdin.read()
"""


@pytest.fixture
def store(where: str) -> Iterator[Store]:
    opened = open_store(where)
    yield opened
    opened.close()


def start_holder(where: str, run_id: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, where, run_id], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip().isdigit()
    return process


def test_a_second_writer_is_told_who_holds_the_site_since_when_and_what_lifts_it(where: str, store: Store) -> None:
    holder = start_holder(where, "run-a")
    try:
        with pytest.raises(LeaseHeldError) as caught:
            acquire(store, "base", facility="f", command="other")
        told = str(caught.value)
        assert f"process {holder.pid}" in told
        assert "since 20" in told
        assert "pachon up" in told
        assert "takes the lease over by itself" in told
        held = holder_of(store, "base")
        assert held is not None
        assert not held.dead
    finally:
        holder.kill()
        holder.wait()


def test_the_lease_of_a_dead_process_is_taken_over_and_its_token_is_refused_from_then_on(
    where: str, store: Store
) -> None:
    holder = start_holder(where, "run-b")
    holder.kill()
    holder.wait()
    lease = acquire(store, "base", facility="f", command="next")
    assert lease.took_over == "run-b"
    with store.transaction() as connection:
        require(connection, "base", lease.fencing_token)
        with pytest.raises(RefusedError, match="no longer holds"):
            require(connection, "base", lease.fencing_token - 1)


def test_a_store_that_was_lost_gives_no_token_that_hosts_have_seen_the_end_of(store: Store) -> None:
    token = 0
    for _ in range(3):
        lease = acquire(store, "base", facility="f", command="before")
        assert lease.fencing_token > token
        token = lease.fencing_token
        release(store, lease, "done")
    later = first_token(datetime.now(UTC) + timedelta(seconds=3))
    assert later > token
    assert first_token(datetime(2020, 1, 1, tzinfo=UTC)) == 1, "a clock that is far behind still gives a token"


def test_what_a_dead_run_left_running_is_killed_before_the_lease_changes_hands(where: str, store: Store) -> None:
    run_id = f"run-left-{os.getpid()}"
    holder = start_holder(where, run_id)
    left = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        env={**os.environ, **run_group.marked(run_id)},
        start_new_session=True,
    )
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        holder.kill()
        holder.wait()
        acquire(store, "base", facility="f", command="next")
        assert left.wait(timeout=60) != 0
        assert stranger.poll() is None
    finally:
        for process in (left, stranger):
            process.kill()
            process.wait()


def test_of_many_that_come_at_once_exactly_one_gets_the_lease(where: str, store: Store) -> None:
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, where], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    answers = []
    for racer in racers:
        assert racer.stdout is not None
        answers.append(racer.stdout.readline().strip())
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.close()
        racer.wait()
    assert [answer.isdigit() for answer in sorted(answers)] == [True, False, False, False]
    assert sorted(answers)[1:] == ["held"] * 3


def test_a_lease_held_on_another_controller_is_taken_over_only_after_it_has_expired(store: Store) -> None:
    far = acquire(store, "base", facility="f", command="far away")
    elsewhere = {**this_process().model_dump(), "machine": "elsewhere", "boot_id": "other"}
    with store.transaction() as connection:
        connection.execute(update(leases).values(holder=elsewhere))
    with pytest.raises(LeaseHeldError, match="elsewhere"):
        acquire(store, "base", facility="f", command="next")
    with store.transaction() as connection:
        connection.execute(update(leases).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    assert acquire(store, "base", facility="f", command="next").fencing_token == far.fencing_token + 1


def test_a_holder_of_an_earlier_boot_and_one_whose_number_was_given_away_are_dead() -> None:
    me = this_process()
    assert not proven_dead(me)
    assert proven_dead(me.model_copy(update={"boot_id": "earlier"}))
    assert proven_dead(me.model_copy(update={"started_ticks": me.started_ticks - 1}))
    assert not proven_dead(me.model_copy(update={"machine": "elsewhere", "boot_id": "earlier"}))
    assert not proven_dead(me.model_copy(update={"pid_namespace": "pid:[1]", "started_ticks": 1}))


def test_a_zombie_counts_as_gone() -> None:
    child = subprocess.Popen(["/bin/true"])
    deadline = time.monotonic() + 60
    while started_ticks(child.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert started_ticks(child.pid) is None
    child.wait()


def test_a_released_lease_is_free_and_heartbeats_of_its_old_holder_are_refused(store: Store) -> None:
    with hold(store, "base", facility="f", command="one") as lease:
        heartbeat(store, lease)
    assert holder_of(store, "base") is None
    with pytest.raises(RefusedError):
        heartbeat(store, lease)
    again = acquire(store, "base", facility="f", command="two")
    assert again.fencing_token == lease.fencing_token + 1
    assert again.took_over == ""


def test_a_release_by_a_writer_that_was_overtaken_changes_nothing(store: Store) -> None:
    lease = acquire(store, "base", facility="f", command="one")
    dead = {**json.loads(this_process().model_dump_json()), "boot_id": "earlier"}
    with store.transaction() as connection:
        connection.execute(update(leases).values(holder=dead))
    newer = acquire(store, "base", facility="f", command="two")
    release(store, lease, "done")
    with store.transaction() as connection:
        require(connection, "base", newer.fencing_token)
