"""The server of a site: open channels, a watch, and an ear for commands that want to look through it."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pachon import places, program_text, secrets
from pachon.drivers.channels import Channels
from pachon.drivers.probe import LOOK, Probe
from pachon.drivers.redfish import KeptBmcs
from pachon.drivers.run_file import RunFile
from pachon.drivers.ssh import CLOSE_SECONDS, Credentials, Detours
from pachon.errors import PachonError, RefusedError
from pachon.layers import served
from pachon.layers.hardware import observed
from pachon.layers.role_effects import read_anew
from pachon.layers.role_trees import role_texts
from pachon.layers.served import SEEN, SIGHT, Hello, LookAt
from pachon.layers.sight import Asked, Memory, asked_of, look
from pachon.model.facility import Facility
from pachon.model.hardware import Kind, ResourceInputs
from pachon.model.manifest import Difference
from pachon.serve.events import Listener, Record
from pachon.serve.holding import Holding, held
from pachon.serve.watching import Watch
from pachon.store.database import Store, open_store
from pachon.store.lease import holder_of

BUSY_SECONDS = 1.0
"""How often a server says that it is at work on an answer."""
TOO_LATE, EACH = timedelta(seconds=60), timedelta(milliseconds=100)
"""A round that has not ended by then, longer by a moment for each host, is given up."""

Definition = Callable[[], Facility]
"""The facility as its definition has it now; PachonError where it cannot be read."""


@dataclass(frozen=True)
class Order:
    """What is to be served."""

    sites: Sequence[str]
    state: Path
    definition: Definition
    detours: Callable[[], Detours]
    """Where the facility's addresses are really reached now."""
    every: timedelta
    """Between two rounds."""
    rounds: int = 0
    """After so many it ends; 0: never."""


async def serve(order: Order, listener: Listener, *, stop: asyncio.Event) -> None:
    """Serve these sites until ``stop``.

    Raises:
        RefusedError: another process serves one of them.
    """
    with contextlib.ExitStack() as stack:
        doors = {site: stack.enter_context(held(order.state, site)) for site in order.sites}
        store = open_store(places.store(order.state))
        stack.callback(store.close)
        servers = [
            SiteServer(
                site,
                order,
                store,
                holding=holding,
                record=Record(site, served.folder(order.state) / f"{site}.jsonl", listener),
            )
            for site, (_, holding) in doors.items()
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(server.run(doors[server.site][0])) for server in servers]
            ends = [group.create_task(_all_of([stop])), group.create_task(_all_of([each.over for each in servers]))]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in (*tasks, *ends):
                task.cancel()


async def _all_of(events: Sequence[asyncio.Event]) -> None:
    for event in events:
        await event.wait()


class SiteServer:
    """The server of one site."""

    def __init__(self, site: str, order: Order, store: Store, *, holding: Holding, record: Record) -> None:
        self.site = site
        self.over = asyncio.Event()
        """Set when all rounds that were ordered are over."""
        self._order = order
        self._store = store
        self._holding = holding
        self._record = record
        self._version = served.version() if program_text.is_what_runs(*program_text.LOOKING) else ""
        self._credentials = Credentials.of_state(order.state)
        self._channels = Channels(self._credentials)
        self._bmcs = KeptBmcs()
        self._roles = role_texts()
        self._memory = Memory()
        self._watch = Watch(every=order.every)
        self._asked = Asked(site=site, addresses={}, roles={})
        self._paused = False
        self._unread = ""
        """Why the definition cannot be read, as it was told."""
        self._commands: set[asyncio.Task[None]] = set()

    async def run(self, listener: socket.socket) -> None:
        """Serve until cancelled."""
        self._record.tell("serving", f"{self._holding.holder}, a look every {self._order.every.total_seconds():g} s")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(listener))
                group.create_task(self._rounds())
        finally:
            with contextlib.suppress(TimeoutError, PachonError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await asyncio.gather(self._channels.__aexit__(None, None, None), self._bmcs.close())
            self._record.tell("ended", "no longer served")

    async def _rounds(self) -> None:
        loop = asyncio.get_running_loop()
        number = 0
        while not self._order.rounds or number < self._order.rounds:
            began = loop.time()
            await asyncio.to_thread(self._read_definition)
            await self._read_roles()
            try:
                async with asyncio.timeout((TOO_LATE + EACH * len(self._asked.roles)).total_seconds()):
                    await self._round()
            except TimeoutError:
                self._record.tell("trouble", "a round took too long and was given up")
            except Exception as error:  # as of the definition; a server that ended would leave all its sites unwatched
                self._record.tell("trouble", _said(error))
            number += 1
            if not self._order.rounds or number < self._order.rounds:
                await asyncio.sleep(max(0.0, began + self._order.every.total_seconds() - loop.time()))
        self.over.set()

    async def _round(self) -> None:
        """One look at the hosts that are due, unless a run is changing them."""
        writer = await asyncio.to_thread(holder_of, self._store, self.site)
        busy = writer is not None and not writer.dead
        if busy != self._paused:
            self._paused = busy
            said = f"run {writer.run_id} is at work here" if writer is not None and busy else "the run has ended"
            self._record.tell("paused" if busy else "resumed", said)
        if busy:
            return
        began, now = asyncio.get_running_loop().time(), datetime.now(UTC)
        due = self._watch.due(self._asked, now)
        self._channels.detours = self._order.detours()
        memory, asked = self._memory, self._asked
        seen = await look(due, self._store, self._probe(), memory=memory)

        def expects(difference: Difference) -> bool:
            return memory.expects(asked, difference)

        for change in self._watch.took(due, seen, all_of=asked, expects=expects, now=now):
            self._record.tell(change.event, change.message, address=change.address)
        silent, differences = len(self._watch.silent), self._watch.open(self.site)
        answered, seconds = len(seen.asked - seen.unanswered.keys()), asyncio.get_running_loop().time() - began
        self._record.tell(
            "round",
            f"{answered} hosts answered in {seconds:.2f} s, {silent} silent, "
            f"{differences} difference{'' if differences == 1 else 's'}",
        )

    def _read_definition(self) -> None:
        try:
            asked = asked_of(self._order.definition().site(self.site))
        except Exception as error:  # modules of the program's next version may fail in any way among those of this one
            why = _said(error)
            if why != self._unread:
                self._record.tell("trouble", f"the definition cannot be read, the one before is watched: {why}")
            self._unread = why
            return
        self._unread = ""
        if self._asked.roles and asked != self._asked:
            self._record.tell("definition", f"it is another now, with {len(asked.roles)} hosts here")
        self._asked = asked

    async def _read_roles(self) -> None:
        """Go by the texts of roles as they are now: what is expected of hosts depends on them."""
        try:
            roles = await asyncio.to_thread(read_anew)
        except PachonError as error:  # files that move while they are read: by a checkout, by an editor
            self._record.tell("trouble", error.message)
            return
        if roles != self._roles:
            self._roles, self._memory = roles, Memory()
            self._record.tell("definition", "texts of roles are others now")

    def _probe(self) -> Probe:
        """Made for each look: the key may be new, as all that is kept in the state folder."""
        key = secrets.key_of_digests(self._order.state)
        return Probe(self._credentials, key=key, fleet=self._channels)

    async def _listen(self, listener: socket.socket) -> None:
        server = await asyncio.start_unix_server(self._welcome, sock=listener, limit=served.LINE_BYTES)
        async with server:
            await server.serve_forever()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one question, and end the work on it when nobody waits any more."""
        task = asyncio.current_task()
        if task is not None:
            self._commands.add(task)
            task.add_done_callback(self._commands.discard)
        both: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(served.SILENT_SECONDS):
                question = json.loads(await reader.readline())
            work = asyncio.ensure_future(self._told(question["do"], question["about"]))
            gone = asyncio.ensure_future(reader.read(1))
            both = [work, gone]
            while not work.done() and not gone.done():
                await asyncio.wait([work, gone], timeout=BUSY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not work.done():
                    writer.write(b'{"busy": true}\n')
                    await writer.drain()
            if not work.done():
                return
            writer.write(await asyncio.to_thread(_line, work.result()))
            await writer.drain()
        except (OSError, ValueError, KeyError, TypeError, asyncio.CancelledError):
            return
        finally:
            for each in both:
                each.cancel()
            writer.close()

    async def _told(self, what: str, about: Mapping[str, Any]) -> dict[str, Any]:
        answers: dict[str, Callable[[Mapping[str, Any]], Awaitable[Any]]] = {
            "hello": self._hello,
            "known": self._known,
            "look": self._look,
            "observe": self._observe,
        }
        if what not in answers:
            return {"refused": f"it knows no {what!r}"}
        began = asyncio.get_running_loop().time()
        try:
            answer = await answers[what](about)
        except PachonError as error:
            return {"refused": error.message}
        except (ValueError, KeyError, TypeError) as error:
            return {"refused": f"it does not understand the question: {type(error).__name__}"}
        except Exception as error:  # as of the definition
            return {"refused": _said(error)}
        if what in ("look", "observe"):
            seconds = asyncio.get_running_loop().time() - began
            self._record.tell("asked", f"a command looked through it ({what}): {seconds:.2f} s")
        return {"answer": answer}

    async def _hello(self, about: Mapping[str, Any]) -> Any:
        return Hello(
            facility=self._order.state.name,
            site=self.site,
            store=places.store(self._order.state),
            version=self._version,
            holder=self._holding.holder,
            since=self._holding.since,
            hosts=len(self._asked.roles),
            open=self._channels.number_open,
            looked_at=self._watch.at,
            drift=self._watch.open(self.site),
            unknown={name: each.since for name, each in self._watch.silent.items()},
        ).model_dump(mode="json")

    async def _known(self, about: Mapping[str, Any]) -> Any:
        return self._watch.known.model_dump(mode="json")

    async def _look(self, about: Mapping[str, Any]) -> Any:
        question = await asyncio.to_thread(LookAt.model_validate, about)
        if question.roles != self._roles:
            await self._read_roles()
        if question.roles != self._roles:
            raise RefusedError("it has other texts of roles", cure="the command may have begun before an edit")
        self._channels.detours = {**self._channels.detours, **question.doors}
        seen = await look(question.asked, self._store, self._probe(), limit=LOOK, memory=self._memory)
        return SIGHT.dump_python(seen, mode="json")

    async def _observe(self, about: Mapping[str, Any]) -> Any:
        from infra.provider.main import context_of

        run = await asyncio.to_thread(RunFile.model_validate, about)
        declared = [
            ResourceInputs(kind=Kind(each.kind), address=address, inputs=each.inputs)
            for address, each in run.definition.items()
        ]
        context = context_of(run, fleet=self._channels, bmcs=self._bmcs)
        try:
            seen = await observed(context, declared)
        finally:
            await context.close()
        return SEEN.dump_python(list(seen.values()), mode="json")


def _said(error: Exception) -> str:
    """What to say of it; of what only an edit of the program explains, that."""
    if isinstance(error, PachonError):
        return error.message
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) or program_text.is_what_runs(*program_text.LOOKING):
        return said
    return f"the program was edited since this server began, end it and start it anew ({said})"


def _line(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told).encode() + b"\n"
