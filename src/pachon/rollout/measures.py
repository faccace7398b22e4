"""What gates of a place read: contracts of instances, smoke tests, and its site's Prometheus.

Instances are reached by the port of their slot and smoke tests are run from a front door: there is a way from there to
each of them, and a host of the facility is whom they answer to.
"""

import math
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pachon.drivers import contract_program, prometheus
from pachon.drivers.ssh import Host
from pachon.errors import PermanentError, TemporaryError, UsageError
from pachon.model.probes import HttpProbe, Probe, TcpProbe
from pachon.rollout.world import Finding

PROGRAM = Path(contract_program.__file__)
ANSWER_SECONDS = 5.0
"""For one instance to answer."""
SMOKE_SECONDS = 60
"""A smoke test that takes longer has failed."""
TIMED_OUT = "status 124"
TRUST = f"{prometheus.PKI}/trust.pem"


@dataclass(frozen=True)
class Target:
    """Where an instance is asked."""

    address: str
    port: int
    certified: str
    """Name that its certificate has to be for."""


class Measures:
    """What is measured of a service at a site; ``open_door`` gives an open connection to one of its front doors."""

    def __init__(
        self,
        open_door: Callable[[], Awaitable[Host]],
        site_prometheus: prometheus.Prometheus,
        *,
        name: str = "",
        plain: bool = False,
        trust: str = TRUST,
    ) -> None:
        self._open = open_door
        self._prometheus = site_prometheus
        self._name = name
        self._trust = "" if plain else trust

    async def health(self, targets: Mapping[str, Target], probe: Probe) -> Finding:
        """Whether each of these passes the probe.

        Raises:
            UsageError: it is not a probe of an endpoint.
            TemporaryError: they cannot be asked.
        """
        if not isinstance(probe, TcpProbe | HttpProbe):
            raise UsageError(
                f"the probe {probe.name} looks at hosts, not at one instance of two on a host",
                cure="name a probe of an endpoint in the gate of rollout.yaml",
            )
        path, status = (probe.path, probe.status) if isinstance(probe, HttpProbe) else ("", 0)
        call = {
            "targets": {name: vars(target) for name, target in targets.items()},
            "path": path,
            "status": status,
            "name": self._name,
            "trust": self._trust,
            "seconds": ANSWER_SECONDS,
        }
        host = await self._open()
        patience = timedelta(seconds=4 * ANSWER_SECONDS)
        try:
            told = await host.run_program(PROGRAM.read_text(), call, timeout=patience)
        except PermanentError as error:
            raise TemporaryError(f"nobody can be asked from {host.name}: {error.message}", cure=error.cure) from error
        wrong = [f"{name}: {said}" for name, said in told.items() if said]
        return Finding(not wrong, "; ".join(wrong) or f"{len(told)} pass {probe.name}")

    async def smoke(self, where: str, command: Sequence[str]) -> Finding:
        """Whether the command ends well, ``where`` (``<name>:<port>``) put in for ``{address}``.

        Raises:
            TemporaryError: it cannot be run.
        """
        words = [word.replace("{address}", where) for word in command]
        host = await self._open()
        limited = shlex.join(["/usr/bin/timeout", str(SMOKE_SECONDS), *words])
        try:
            said = await host.run(limited, timeout=timedelta(seconds=2 * SMOKE_SECONDS))
        except PermanentError as error:
            told = f"it did not end within {SMOKE_SECONDS} s" if TIMED_OUT in error.message else error.message
            return Finding(False, " ".join(told.split()))
        return Finding(True, " ".join(said.split())[-200:])

    async def query(self, query: str) -> float | None:
        """The one value of a query; None where there is none, or it is no number.

        Raises:
            UsageError: Prometheus does not understand it, or it gives several values.
            PermanentError, TemporaryError: it does not answer.
        """
        samples = await self._prometheus.instant(query)
        if len(samples) > 1:
            raise UsageError(f"the query {query!r} gives {len(samples)} values", cure="sum them up, or take their max")
        return None if not samples or math.isnan(samples[0].value) else samples[0].value
