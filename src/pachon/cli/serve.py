"""``pachon serve``: a process that keeps looking at sites, so that commands need not begin anew."""

import asyncio
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer
from pachon.cli.frame import Call, Command, Sites, example, no_such, verb

if TYPE_CHECKING:
    from pachon.drivers.ssh import Detours
    from pachon.model.facility import Facility
    from pachon.serve import Order, Told

EVERY_SECONDS = 30.0
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 600.0

app = verb()


@app.command(
    cls=Command, epilog=example("pachon serve", "pachon serve base --every 10", "pachon serve --rounds 1 --json")
)
def serve(
    ctx: typer.Context,
    sites: Sites = None,
    *,
    every: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=SHORTEST_SECONDS, max=LONGEST_SECONDS, help="Pause between two looks at all hosts."
        ),
    ] = EVERY_SECONDS,
    rounds: Annotated[int, typer.Option(metavar="N", min=0, help="End after so many looks (0: never).")] = 0,
) -> Answer:
    """Keep channels to all hosts open, watch for drift, and let 'plan', 'up' and 'drift' look through them.

    They find it by themselves, look anew each time, and do without it when it is not there. On hosts it changes
    nothing but the probe's own cache. Drift is told as it begins and ends (--json: a line each) and kept in the state
    folder. Ends by Ctrl-C.
    """
    from pachon.serve import Order

    call = Call.of(ctx)
    facility = call.facility()
    known = [site.name for site in call.sites(facility)]
    for name in sites or ():
        if name not in known:
            raise no_such("site", name, known, facility=facility.name)
    order = Order(
        sites=tuple(dict.fromkeys(sites or known)),
        state=places.state(facility.name),
        definition=_Definition(call, facility),
        detours=lambda: _detours(facility),
        every=timedelta(seconds=every),
        rounds=rounds,
    )
    asyncio.run(_until_stopped(order, _json if call.as_json else _text))
    return Answer(value={"ended": list(order.sites)}, text=[])


async def _until_stopped(order: "Order", show: "Callable[[Told], None]") -> None:
    from pachon.processes import brief
    from pachon.serve import serve as room

    brief.stay()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await room(order, show, stop=stop)


class _Definition:
    """The facility, read again when a file of its definition is another."""

    def __init__(self, call: Call, facility: "Facility") -> None:
        self._call = call
        self._facility = facility
        self._state = self._files()

    def __call__(self) -> "Facility":
        now = self._files()
        if now != self._state:
            self._facility, self._state = self._call.facility(), now
        return self._facility

    def _files(self) -> object:
        folder = self._call.folder
        if folder is None:
            return None
        found = [(str(path), path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
        return [(name, told.st_mtime_ns, told.st_size) for name, told in found]


def _detours(facility: "Facility") -> "Detours":
    from pachon import ground

    return ground.of(facility).endpoints


def _text(told: "Told") -> None:
    where = told.site if told.address == told.site else told.address
    _write(f"{told.at:%H:%M:%S} {told.event:<12} {where}: {told.message}")


def _json(told: "Told") -> None:
    _write(told.model_dump_json())


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
