"""What gates read: contracts over real sockets, smoke tests as real programs, and answers of a Prometheus."""

import asyncio
import shlex
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from pachon.drivers import pki
from pachon.drivers.prometheus import Prometheus
from pachon.drivers.ssh import Host
from pachon.errors import PachonError, PermanentError, TemporaryError, UsageError
from pachon.model.probes import HttpProbe, TcpProbe, UnitProbe
from pachon.rollout import measures
from pachon.rollout.measures import Measures, Target
from tests.doors import Carrier, Here, certify, free_port
from tests.unit.test_prometheus_driver import answering, bad, good

HTTPS = HttpProbe(name="https", endpoint="https", path="/health", status=200)
TCP = TcpProbe(name="port", endpoint="https")


class Door(Here):
    """A front door that is this machine."""

    name = "door01"

    async def run(self, command: str, **_: object) -> str:
        """As of ``pachon.drivers.ssh.Host``."""
        done = await asyncio.to_thread(subprocess.run, shlex.split(command), capture_output=True, text=True)
        if done.returncode:
            raise PermanentError(f"door01: status {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout


async def at_the_door() -> Host:
    return cast("Host", Door())


async def away() -> Host:
    raise TemporaryError("no SSH answer from door01")


class Broken:
    name = "door01"

    async def run_program(self, *_: object, timeout: timedelta) -> dict[str, Any]:
        raise PermanentError("door01: status 1: no python3")


async def broken() -> Host:
    return cast("Host", Broken())


def measured(folder: Path, **given: Any) -> Measures:
    trust = str(folder / "trust.pem")
    return Measures(at_the_door, cast("Prometheus", None), **{"trust": trust, "name": "demo.base.test", **given})


@pytest.fixture
def carrier(tmp_path: Path) -> Iterator[Carrier]:
    pki.ensure_site(tmp_path, "base")
    (tmp_path / "trust.pem").write_text(pki.trust_bundle(tmp_path, ["base"]))
    certify(tmp_path, tmp_path / "one.crt", "one.test", now=datetime.now(UTC))
    made = Carrier("one", tmp_path / "one.crt")
    yield made
    made.stop()


def test_each_instance_is_asked_at_its_port_and_the_bad_ones_are_named(tmp_path: Path, carrier: Carrier) -> None:
    well = Target("127.0.0.1", carrier.port, "one.test")
    found = asyncio.run(measured(tmp_path).health({"one.a": well}, HTTPS))
    assert (found.passed, found.said) == (True, "1 pass https")
    others = {
        "gone.a": Target("127.0.0.1", free_port(), "one.test"),
        "other.a": Target("127.0.0.1", carrier.port, "two.test"),
    }
    found = asyncio.run(measured(tmp_path).health({"well": well, **others}, HTTPS))
    assert not found.passed
    assert "gone.a: " in found.said and "refused" in found.said
    assert "other.a: its certificate is not good" in found.said
    assert "well" not in found.said
    assert asyncio.run(measured(tmp_path).health({"one.a": well}, TCP)).passed
    assert not asyncio.run(measured(tmp_path).health({"gone.a": others["gone.a"]}, TCP)).passed


def test_another_status_is_a_failure_and_says_which(tmp_path: Path, carrier: Carrier) -> None:
    well = Target("127.0.0.1", carrier.port, "one.test")
    found = asyncio.run(measured(tmp_path).health({"one.a": well}, HTTPS.model_copy(update={"status": 204})))
    assert (found.passed, found.said) == (False, "one.a: /health answers 200, to be 204")


def test_nobody_is_blamed_for_a_door_that_cannot_ask(tmp_path: Path) -> None:
    target = {"one.a": Target("127.0.0.1", 1, "one.test")}
    for opened in (away, broken):
        with pytest.raises(TemporaryError):
            asyncio.run(Measures(opened, cast("Prometheus", None)).health(target, HTTPS))
    with pytest.raises(TemporaryError):
        asyncio.run(Measures(away, cast("Prometheus", None)).smoke("one.test:1", ["/bin/true"]))


def test_a_probe_of_a_whole_host_is_no_contract_of_an_instance(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="looks at hosts"):
        asyncio.run(measured(tmp_path).health({}, UnitProbe(name="unit", group="demo", unit="demo.service")))


def test_a_smoke_test_is_told_where_and_fails_with_its_status_and_last_words(tmp_path: Path) -> None:
    found = asyncio.run(measured(tmp_path).smoke("one.test:8443", ["/bin/echo", "at", "{address} $HOME"]))
    assert (found.passed, found.said) == (True, "at one.test:8443 $HOME")
    found = asyncio.run(measured(tmp_path).smoke("one.test:8443", ["/bin/sh", "-c", "echo nothing found >&2; exit 3"]))
    assert (found.passed, found.said) == (False, "door01: status 3: nothing found")


def test_a_smoke_test_that_hangs_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "SMOKE_SECONDS", 0.2)
    found = asyncio.run(measured(tmp_path).smoke("one.test:8443", ["/bin/sleep", "60"]))
    assert (found.passed, found.said) == (False, "it did not end within 0.2 s")


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (good("vector", [{"metric": {}, "value": [1795867200, "0.25"]}]), 0.25),
        (good("vector", [{"metric": {}, "value": [1795867200, "NaN"]}]), None),
        (good("vector", []), None),
        (good("scalar", [1795867200, "2"]), 2.0),
    ],
)
def test_a_query_gives_one_value_or_none(answer: dict[str, Any], value: float | None) -> None:
    assert asyncio.run(Measures(at_the_door, answering(answer)).query("errors")) == value


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (good("vector", [{"metric": {"server": str(each)}, "value": [1, "1"]} for each in (1, 2)]), UsageError),
        (bad(400, "bad_data", "parse error"), UsageError),
        (bad(503, "unavailable", "busy"), TemporaryError),
        ({"away": "connection refused"}, TemporaryError),
    ],
)
def test_several_values_and_no_answer_are_no_value(answer: dict[str, Any], kind: type[PachonError]) -> None:
    with pytest.raises(kind):
        asyncio.run(Measures(at_the_door, answering(answer)).query("errors"))
