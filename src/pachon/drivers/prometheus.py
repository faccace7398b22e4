"""The Prometheus of a site, asked over SSH on its host: what a query gives now, or gave over a while; for gates.

It answers to hosts of the facility only, so a small program on its own host asks it with that host's certificate.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pachon.drivers.ssh import Host
from pachon.errors import PachonError, PermanentError, TemporaryError, UsageError

PROGRAM = Path(__file__).with_name("prometheus_program.py")
PORT = 9090
PKI = "/etc/pachon/pki"
PATIENCE = timedelta(seconds=10)
STARTING = timedelta(seconds=10)
"""How much longer the program may take than Prometheus."""

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Sample:
    """A value at a moment; NaN and infinities are values."""

    labels: Labels
    """Empty for a scalar."""
    at: datetime
    value: float


@dataclass(frozen=True)
class Series:
    """Values over a while, oldest first."""

    labels: Labels
    points: tuple[tuple[datetime, float], ...]


class Prometheus:
    """One site's Prometheus; ``open_host`` gives an open connection to its host, ``address`` is one of that host."""

    def __init__(self, name: str, open_host: Callable[[], Awaitable[Host]], *, address: str, port: int = PORT) -> None:
        self._name = name
        self._open = open_host
        self._address = address
        self._port = port

    async def instant(
        self, query: str, *, at: datetime | None = None, patience: timedelta = PATIENCE
    ) -> tuple[Sample, ...]:
        """What the query gives at a moment, now if none is given; nothing if no measure matches.

        Raises:
            UsageError: Prometheus does not understand the query, or it gives a text.
            TemporaryError: host or Prometheus do not answer in time.
            PermanentError: its certificate is not good, or the query cannot be carried out.
        """
        moment = {} if at is None else {"time": _moment(at)}
        data = await self._ask("/api/v1/query", {"query": query, **moment}, patience=patience)
        kind, result = data["resultType"], data["result"]
        if kind == "scalar":
            return (_sample({}, result),)
        if kind != "vector":
            raise UsageError(f"the query {query!r} gives a {kind}, not values at one moment", cure="give it no range")
        return tuple(_sample(each["metric"], each["value"]) for each in result)

    async def over(
        self, query: str, *, begin: datetime, end: datetime, step: timedelta, patience: timedelta = PATIENCE
    ) -> tuple[Series, ...]:
        """What the query gives at each step from begin to end (errors as of ``instant``)."""
        asked = {"query": query, "start": _moment(begin), "end": _moment(end), "step": f"{step.total_seconds():g}"}
        data = await self._ask("/api/v1/query_range", asked, patience=patience)
        return tuple(
            Series(labels=each["metric"], points=tuple((_time(at), float(value)) for at, value in each["values"]))
            for each in data["result"]
        )

    async def _ask(self, path: str, parameters: Mapping[str, str], *, patience: timedelta) -> dict[str, Any]:
        seconds = patience.total_seconds()
        call = {
            "address": self._address,
            "port": self._port,
            "path": path,
            "parameters": {**parameters, "timeout": f"{seconds:g}s"},
            "seconds": seconds,
            "trust": f"{PKI}/trust.pem",
            "certificate": f"{PKI}/host.crt",
            "key": f"{PKI}/host.key",
        }
        host = await self._open()
        answer = await host.run_program(PROGRAM.read_text(), call, timeout=patience + STARTING)
        if "away" in answer:
            raise TemporaryError(
                f"the Prometheus on {self._name} does not answer: {answer['away']}",
                cure=f"see 'systemctl status prometheus' and 'journalctl -u prometheus' on {self._name}",
            )
        if "distrusted" in answer:
            raise PermanentError(
                f"the Prometheus on {self._name} cannot be trusted: {answer['distrusted']}",
                cure=f"'pachon up' gives {self._name} a new certificate when its own is due",
            )
        return self._data(int(answer["status"]), str(answer["body"]), parameters["query"])

    def _data(self, status: int, body: str, query: str) -> dict[str, Any]:
        """What a good answer holds; raises what a bad one means."""
        try:
            told = json.loads(body) if body else {}
            if told.get("status") == "success" and isinstance(told["data"]["result"], list):
                return dict(told["data"])
        except (AttributeError, KeyError, TypeError, ValueError):
            told = {}
        said = str(told.get("error") or f"status {status}")
        raise self._error(status, said, query)

    def _error(self, status: int, said: str, query: str) -> PachonError:
        what = f"the Prometheus on {self._name} refused the query {query!r}: {said}"
        match status:
            case 400:
                return UsageError(what, cure="mend the query; https://prometheus.io/docs tells of its language")
            case 413:
                return UsageError(f"{what}: its answer is too large", cure="ask for less, or in longer steps")
            case 422:
                return PermanentError(what, cure="mend the query, or ask over a shorter while")
            case 503:
                return TemporaryError(what, cure="it is busy: ask again, or for less")
        return PermanentError(what, cure=f"see 'journalctl -u prometheus' on {self._name}")


def _moment(at: datetime) -> str:
    return f"{at.timestamp():.3f}"


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)


def _sample(labels: Labels, value: list[Any]) -> Sample:
    return Sample(labels=labels, at=_time(value[0]), value=float(value[1]))
