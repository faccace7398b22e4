"""The front door as its role configures it: weights, drains, health, logs, and what outlives what."""

import contextlib
import shutil
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from pachon.drivers import front_door_program
from pachon.drivers.front_door import Wanted
from pachon.errors import PachonError, RefusedError, TemporaryError, UsageError
from tests.doors import BACKEND, Door, certify, standing, until

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with standing(tmp_path_factory.mktemp("d"), "one", "two") as made:
        yield made


def test_servers_are_told_of_with_weight_and_health(door: Door) -> None:
    assert set(door.servers()) == {"one", "two"}
    one = door.servers()["one"]
    assert (one.backend, one.weight, one.declared_weight, one.wanted) == (BACKEND, 100, 100, Wanted.READY)
    assert one.healthy and not one.differs
    until(lambda: door.who() == {"one", "two"})


def test_requests_follow_the_weights_at_once(door: Door) -> None:
    after = door.do(door.driver.set_weights(BACKEND, {"one": 0, "two": 7}))
    assert (after["one"].weight, after["two"].weight, after["two"].declared_weight) == (0, 7, 100)
    assert after["two"].differs
    assert door.who() == {"two"}
    door.do(door.driver.set_weights(BACKEND, {"one": 95, "two": 5}))
    answers = [door.get()[1] for _ in range(100)]
    assert 1 <= answers.count("two") <= 10


def test_a_drained_server_gets_nothing_until_it_is_ready_again(door: Door) -> None:
    assert door.do(door.driver.drain(BACKEND, ["one"]))["one"].wanted is Wanted.DRAIN
    assert door.who() == {"two"}
    assert door.do(door.driver.ready(BACKEND, ["one"]))["one"].wanted is Wanted.READY
    until(lambda: door.who() == {"one", "two"})


def test_what_could_not_be_written_down_in_time_is_to_be_done_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(front_door_program, "SECONDS", 0.2)
    assert front_door_program._keep(["sleep", "60"]) == "sleep was not through within 0.2 s"


def test_weights_and_drains_outlive_a_reload_and_a_kill(door: Door) -> None:
    door.do(door.driver.set_weights(BACKEND, {"one": 3, "two": 50}))
    door.do(door.driver.drain(BACKEND, ["one"]))
    door.reload()
    kept = door.servers()
    assert (kept["one"].weight, kept["one"].wanted, kept["two"].weight) == (3, Wanted.DRAIN, 50)
    door.do(door.driver.set_weights(BACKEND, {"two": 60}))
    door.kill()
    door.start()
    kept = door.servers()
    assert (kept["one"].weight, kept["one"].wanted, kept["two"].weight) == (3, Wanted.DRAIN, 60)
    assert door.who() == {"two"}


def test_another_declared_weight_begins_anew(door: Door) -> None:
    door.do(door.driver.set_weights(BACKEND, {"one": 3}))
    door.kill()
    door.weight = 80
    door.configure()
    door.start()
    assert {each.weight for each in door.servers().values()} == {80}


def anew(door: Door, way: str) -> None:
    """Have the front door go by the configuration that is there now."""
    if way == "reload":
        door.reload()
    else:
        door.unit("ExecStop")
        door.kill()
        door.unit("ExecStartPre")
        door.start()


@pytest.mark.parametrize("way", ["reload", "start"])
def test_another_port_counts_from_the_next_reload_or_start_and_the_drain_stays(door: Door, way: str) -> None:
    one = door.carriers[0]
    door.do(door.driver.set_weights(BACKEND, {"one": 3, "two": 50}))
    door.do(door.driver.drain(BACKEND, ["one"]))
    one.stop()
    until(lambda: not door.servers()["one"].healthy)
    one.port = 0
    one.start()
    door.configure()
    anew(door, way)
    until(lambda: door.servers()["one"].healthy)
    kept = door.servers()
    assert (kept["one"].weight, kept["one"].wanted, kept["two"].weight) == (3, Wanted.DRAIN, 50)
    door.do(door.driver.drain(BACKEND, ["two"]))
    door.do(door.driver.ready(BACKEND, ["one"]))
    until(lambda: door.who() == {"one"})


@pytest.mark.parametrize("way", ["reload", "start"])
def test_tls_to_servers_counts_from_the_next_reload_or_start(door: Door, way: str) -> None:
    door.plain = True
    door.configure()
    door.kill()
    door.start()
    until(lambda: not any(each.healthy for each in door.servers().values()))
    door.plain = False
    door.configure()
    anew(door, way)
    until(lambda: all(each.healthy for each in door.servers().values()))
    assert door.who() == {"one", "two"}


def test_a_server_that_was_down_when_it_was_written_down_is_tried_at_the_next_start(door: Door) -> None:
    door.carriers[0].stop()
    until(lambda: not door.servers()["one"].healthy)
    door.do(door.driver.set_weights(BACKEND, {"two": 50}))
    door.carriers[0].start()
    door.kill()
    door.start()
    until(lambda: door.servers()["one"].healthy)
    until(lambda: door.who() == {"one", "two"})


def test_a_killed_server_costs_no_request_and_says_why_it_is_down(door: Door) -> None:
    door.carriers[0].stop()
    assert door.who(30) == {"two"}
    until(lambda: not door.servers()["one"].healthy)
    assert "L4CON" in door.servers()["one"].check
    door.carriers[0].start()
    until(lambda: door.servers()["one"].healthy)


def test_a_certificate_that_has_ended_or_is_another_s_takes_a_server_out(door: Door) -> None:
    for name, now in (("one.test", LONG_AGO), ("two.test", datetime.now(UTC))):
        door.carriers[0].stop()
        certify(door.folder, door.folder / "one.crt", name, now=now)
        door.carriers[0].start()
        until(lambda: not door.servers()["one"].healthy and "L6RSP" in door.servers()["one"].check)
        assert "SSL handshake failure" in door.servers()["one"].check
        assert door.who() == {"two"}


def test_when_nobody_is_left_people_are_told_so(door: Door) -> None:
    for carrier in door.carriers:
        carrier.stop()
    until(lambda: not any(each.healthy for each in door.servers().values()))
    assert door.get()[0] == 503


def test_logs_tell_of_what_failed_and_never_who_asked_for_what(door: Door) -> None:
    door.get("/mine/quilla")
    for carrier in door.carriers:
        carrier.stop()
    until(lambda: not any(each.healthy for each in door.servers().values()))
    assert door.get("/secret/quilla?token=42")[0] == 503
    with socket.create_connection(("127.0.0.1", door.port)) as link:
        link.sendall(b"no TLS at all\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            link.recv(100)
    log = door.folder / "log"
    door.measures()
    until(lambda: f"{BACKEND}/<NOSRV> GET 503" in log.read_text() and "refused:" in log.read_text())
    assert not [word for word in ("quilla", "token", "127.0.0.1", "/mine") if word in log.read_text()]


def test_a_name_that_no_service_has_is_answered_by_none(door: Door) -> None:
    status, body = door.get(name="other.base.test")
    assert (status, "No service of this site" in body) == (404, True)


def test_only_who_has_a_certificate_reads_its_measures(door: Door) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        door.measures(known=False)
    status, body = door.measures()
    assert status == 200
    assert f'haproxy_server_http_responses_total{{proxy="{BACKEND}",server="one",code="5xx"}}' in body


@pytest.mark.parametrize(
    ("backend", "weights", "kind", "words"),
    [
        (BACKEND, {"one": 7, "three": 1}, RefusedError, ("no server three", "it has one, two")),
        ("other.https", {"one": 1}, RefusedError, ("does not answer for other.https", f"it answers for {BACKEND}")),
        (BACKEND, {"one": 257}, UsageError, ("weight 257", "0 to 256")),
    ],
)
def test_what_is_not_there_is_refused_whole(
    door: Door, backend: str, weights: dict[str, int], kind: type[PachonError], words: tuple[str, str]
) -> None:
    with pytest.raises(kind) as refused:
        door.do(door.driver.set_weights(backend, weights))
    assert words[0] in refused.value.message
    assert words[1] in refused.value.cure
    assert door.servers()["one"].weight == 100


def test_a_front_door_that_is_away_is_temporary_and_says_where_to_look(door: Door) -> None:
    door.kill()
    with pytest.raises(TemporaryError) as away:
        door.servers()
    assert "door01" in away.value.message and "journalctl -u haproxy" in away.value.cure


def test_what_could_not_be_written_down_is_said(door: Door) -> None:
    shutil.rmtree(door.folder / "kept")
    (door.folder / "kept").write_text("in the way")
    with pytest.raises(TemporaryError, match="did not write it down"):
        door.do(door.driver.set_weights(BACKEND, {"one": 9}))
