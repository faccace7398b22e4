"""A site's server on loopback hosts: commands look through it, it tells what drifts, and nothing depends on it."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pachon import drift, secrets
from pachon.cli import drift as cli
from pachon.cli.answer import show
from pachon.drivers import probe as probe_driver
from pachon.drivers import probe_program
from pachon.drivers.probe import Probe, Rest
from pachon.drivers.run_file import Endpoint
from pachon.drivers.sent_program import RUNNER
from pachon.drivers.ssh import Credentials
from pachon.errors import RefusedError
from pachon.layers import role_effects, role_trees, served, sight
from pachon.layers.served import LookAt
from pachon.layers.sight import MANIFEST, Asked, Memory, Sight, asked_of, look
from pachon.model.manifest import Manifest, Subject, recorded
from pachon.processes.sockets import short_path
from pachon.progress import Event, silent
from pachon.serve import Order, Told, serve
from pachon.store.database import Store, open_store
from pachon.store.lease import hold
from pachon.store.receipts import drop_receipt, put_receipt, receipts_at
from tests.unit.boot.test_channels import Server, host

if TYPE_CHECKING:
    from tests.unit.boot.conftest import Bench

OFTEN = timedelta(seconds=0.2)
PATIENCE_SECONDS = 60
ASPECTS = ("content", "mode", "owner", "group")


@dataclass
class Site:
    """Hosts of a site that each have one file of one role, and where they are reached."""

    bench: "Bench"
    store: Store
    files: dict[str, Path]
    doors: dict[str, Endpoint]
    hosts: dict[str, Server]
    told: list[Told] = field(default_factory=list)

    @property
    def asked(self) -> Asked:
        return asked_of(self.bench.site)

    def order(self, *, every: timedelta = OFTEN) -> Order:
        return Order(
            sites=("base",),
            state=self.bench.state,
            definition=lambda: self.bench.facility,
            detours=lambda: self.doors,
            every=every,
        )

    def probe(self) -> Probe:
        key = secrets.key_of_digests(self.bench.state)
        return Probe(Credentials.of_state(self.bench.state), key=key, detours=self.doors)

    async def cold(self, asked: Asked | None = None) -> Sight:
        return await look(asked or self.asked, self.store, self.probe(), memory=Memory())

    async def warm(self, asked: Asked | None = None) -> Sight:
        server = await served.find(self.bench.state, "base")
        assert server is not None
        return await server.look(LookAt(asked=asked or self.asked, doors=self.doors))

    async def until(self, event: str, *, where: str = "") -> Told:
        """The next thing of that kind that is told, also if it was told before."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                for number, each in enumerate(self.told):
                    if each.event == event and where in each.address:
                        return self.told.pop(number)
                await asyncio.sleep(0.02)


@asynccontextmanager
async def standing(bench: "Bench", folder: Path) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        store = open_store(bench.state / "store.db")
        stack.callback(store.close)
        site = Site(bench, store, {}, {}, {})
        for name, address in asked_of(bench.site).addresses.items():
            server = await stack.enter_async_context(host(bench, folder / name, names=(name, address)))
            site.hosts[name], site.doors[address] = server, Endpoint(host="127.0.0.1", port=server.port)
            site.files[name] = folder / name / "conf"
            site.files[name].write_text("a = 1\n")
            record(site, name)
        yield site


def record(site: Site, name: str, *more: Subject) -> None:
    """Keep what the role left on the host as the probe has it now."""
    subjects = (Subject(kind="file", name=str(site.files[name]), owner="Configure", aspects=ASPECTS), *more)
    asking = [
        {"kind": each.kind, "name": each.name, "secret": False, "aspects": [*each.aspects, "entries"]}
        for each in subjects
    ]
    values = probe_program.main({"mode": "record", "subjects": asking})["values"]
    manifest = recorded(Manifest(subjects=subjects), values, before=None)
    put_receipt(
        site.store,
        f"base/host/{name}/role/base",
        run_id="r1",
        inputs_digest="d1",
        document={MANIFEST: manifest.model_dump(mode="json")},
    )


def play_others(site: Site, name: str) -> None:
    """Have all other roles of the host played, of which nothing is left: until then nobody is a stranger there."""
    nothing = {MANIFEST: Manifest(recorded=True).model_dump(mode="json")}
    for role in site.asked.roles[name]:
        if role != "base":
            put_receipt(site.store, f"base/host/{name}/role/{role}", run_id="r1", inputs_digest="d1", document=nothing)


def leave(site: Site, name: str) -> None:
    """Have the role leave its file over."""
    address = f"base/host/{name}/role/base"
    manifest = Manifest.model_validate(receipts_at(site.store, [address])[address].document[MANIFEST])
    over = Manifest(left=manifest.subjects, recorded=True)
    put_receipt(site.store, address, run_id="r2", inputs_digest="d2", document={MANIFEST: over.model_dump(mode="json")})


@asynccontextmanager
async def serving(site: Site, order: Order | None = None) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(serve(order or site.order(), site.told.append, stop=stop))
    try:
        await site.until("round")
        yield
    finally:
        stop.set()
        await task


def play(bench: "Bench", folder: Path, script: Callable[[Site], Awaitable[None]]) -> None:
    async def run() -> None:
        async with standing(bench, folder) as site:
            await script(site)

    asyncio.run(run())


def rewrite(path: Path, text: str) -> None:
    """The file with another content and nothing else, in one step: somebody reads it again and again."""
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(text)
    draft.chmod(path.stat().st_mode & 0o7777)
    draft.replace(path)


def names(sight: Sight) -> Sequence[tuple[str, str]]:
    return [(each.host, each.aspect) for each in sight.differences]


def test_what_is_seen_through_a_server_is_what_is_seen_cold(bench: "Bench", tmp_path: Path) -> None:
    async def script(site: Site) -> None:
        one, *others = site.files
        site.files[one].write_text("a = 2\n")
        cold = await site.cold()
        assert names(cold) == [(one, "content")]
        async with serving(site, site.order(every=timedelta(minutes=5))):
            before = {name: len(server.commands) for name, server in site.hosts.items()}
            assert await site.warm() == cold
            site.files[one].chmod(0o600)
            assert sorted(names(await site.warm())) == [(one, "content"), (one, "mode")], "it looks anew"
            site.files[one].write_text("a = 1\n")
            record(site, one)
            assert await site.warm() == await site.cold(), "what is expected is read anew, too"
            fewer = site.asked.model_copy(update={"roles": {one: (), **dict.fromkeys(others, ("base",))}})
            assert await site.warm(fewer) == await site.cold(fewer), "a definition may have roles that it has not"
            assert await site.warm() == await site.cold()
            assert [len(site.hosts[name].commands) - number for name, number in before.items()] == [
                2,
                *(3 for _ in others),
            ]
        assert all(server.commands[-1] == RUNNER for server in site.hosts.values()), "the last one was cold"

    play(bench, tmp_path, script)


def test_a_name_that_is_no_text_is_told_by_every_way_and_put_aside(
    bench: "Bench", tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    async def script(site: Site) -> None:
        (one, *_) = site.files
        folder = tmp_path / "owned"
        folder.mkdir()
        record(site, one, Subject(kind="folder", name=str(folder), owner="Make", aspects=("mode",), whole=True))
        play_others(site, one)
        stranger = Path(os.fsdecode(os.fsencode(folder) + b"/bad\xff"))
        stranger.write_text("theirs")
        named = f"{folder}/bad\\xff"
        async with serving(site):
            assert (await site.until("drift-began")).address == f"base/host/{one}/file:{named}"
            cold = await site.cold()
            assert await site.warm() == cold
            assert [each.name for each in cold.differences] == [named]
            report = drift._report(bench.facility, {bench.site: cold}, site.store, as_of=datetime.now(UTC))
            answer = cli._answer(report, [], known=False)
            show(answer, as_json=True)
            show(answer, as_json=False)
            monkeypatch.setattr(probe_driver, "ASIDE", str(tmp_path / "aside"))
            monkeypatch.setattr(probe_driver, "FENCE", str(tmp_path / "fencing-token"))
            probe = site.probe()
            swept = await probe.sweep(site.asked.addresses, {one: Rest(paths=[named])}, token=1)
            assert swept == {one: [named]}
            assert (await site.until("drift-ended")).address == f"base/host/{one}/file:{named}"
        assert not stranger.exists()

    play(bench, tmp_path, script)
    out = capfdbinary.readouterr().out.decode()
    assert out.count("bad\\xff") >= 1
    assert "bad\\\\xff" in out


def test_drift_is_told_as_it_begins_and_ends_and_is_known_with_its_age(bench: "Bench", tmp_path: Path) -> None:
    async def script(site: Site) -> None:
        (one, *_) = site.files
        async with serving(site):
            rewrite(site.files[one], "a = 2\n")
            began = await site.until("drift-began")
            assert began.address == f"base/host/{one}/file:{site.files[one]}"
            assert "role base: Configure" in began.message
            server = await served.find(site.bench.state, "base")
            assert server is not None
            known = await server.known()
            assert known.at is not None
            assert names(known.sight) == [(one, "content")]
            rewrite(site.files[one], "a = 1\n")
            assert (await site.until("drift-ended")).address == began.address
            rewrite(site.files[one], "a = 2\n")
            await site.until("drift-began")
            drop_receipt(site.store, f"base/host/{one}/role/base")
            dropped = await site.until("drift-dropped")
            assert (dropped.address, dropped.message) == (began.address, "role base expects nothing there any more")
        record_of = [
            Told.model_validate_json(line)
            for line in (served.folder(site.bench.state) / "base.jsonl").read_text().splitlines()
        ]
        told = [each.event.removeprefix("drift-") for each in record_of]
        assert told == ["serving", "began", "ended", "began", "dropped", "ended"]

    play(bench, tmp_path, script)


def test_a_host_that_falls_silent_is_unknown_since_then_and_comes_back_with_other_keys(
    bench: "Bench", tmp_path: Path
) -> None:
    async def script(site: Site) -> None:
        address = dict(site.asked.addresses)
        one, other = list(site.files)[:2]
        site.files[other].write_text("a = 2\n")
        async with serving(site):
            await site.until("drift-began", where=other)
            site.hosts[one].silence()
            fell = await site.until("host-silent", where=one)
            seen = await site.warm()
            assert set(seen.unanswered) == {one}
            assert names(seen) == [(other, "content")], "of the others it is told all the same"
            server = await served.find(site.bench.state, "base")
            assert server is not None
            assert server.hello.unknown[one] <= fell.at
            async with host(bench, tmp_path / "anew", names=(one, address[one])) as server_anew:
                site.doors[address[one]] = Endpoint(host="127.0.0.1", port=server_anew.port)
                await site.until("host-answers", where=one)
                assert dict((await site.warm()).unanswered) == {}

    play(bench, tmp_path, script)


def test_a_second_server_is_told_who_holds_the_site(bench: "Bench", tmp_path: Path) -> None:
    async def script(site: Site) -> None:
        async with serving(site):
            path = served.socket_path(bench.state, "base")
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            with pytest.raises(RefusedError, match=r"site 'base' is served by .* \(process \d+\) since"):
                await serve(site.order(), site.told.append, stop=asyncio.Event())
            assert names(await site.warm()) == []
        assert not path.exists()
        assert await served.find(bench.state, "base") is None

    play(bench, tmp_path, script)


def test_a_server_that_cannot_be_asked_is_done_without_and_why_is_said_in_a_line(
    bench: "Bench", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(site: Site) -> None:
        lines: list[str] = []

        def listen(event: Event) -> None:
            lines.append(event.message)

        path = served.socket_path(bench.state, "base")
        path.parent.mkdir(exist_ok=True)
        with socket.socket(socket.AF_UNIX) as killed, short_path(path) as name:
            killed.bind(name)  # what is left of a server that was killed
        assert await served.found(bench.state, "base", listen) is None
        assert lines.pop() == "'pachon serve' is not used: it was killed; looking without it"
        async with serving(site):
            assert await served.found(bench.state, "base", silent) is not None, "a new one takes its place"
            monkeypatch.setattr(served, "version", lambda: "another")
            assert await served.found(bench.state, "base", listen) is None
            assert "another version of the program" in lines.pop()
            monkeypatch.undo()
            server = await served.find(bench.state, "base")
        assert server is not None
        question = LookAt(asked=site.asked, doors=site.doors)
        seen = await served.look(question, server=server, store=site.store, probe=site.probe(), progress=listen)
        assert seen == await site.cold(), "it ended after it had said hello"
        assert lines.pop().endswith("looking without it")

    play(bench, tmp_path, script)


def test_texts_of_roles_that_were_edited_are_read_anew(
    bench: "Bench", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role that is new here may be just about to mention what another one left: so nothing is left over."""

    async def script(site: Site) -> None:
        one, *others = site.files
        asked = site.asked.model_copy(update={"roles": {one: ("base", "new"), **dict.fromkeys(others, ("base",))}})
        leave(site, one)
        lines: list[str] = []

        def listen(event: Event) -> None:
            lines.append(event.message)

        async with serving(site, site.order(every=timedelta(minutes=5))):
            assert names(await site.warm(asked)) == [(one, "left")]
            before = LookAt(asked=asked, doors=site.doors)
            texts = {**role_trees.trees_now(), "new": "a text"}
            monkeypatch.setattr(role_trees, "trees_now", lambda _: texts)
            monkeypatch.setattr(sight, "has_host_part", lambda _: True)
            role_effects.read_anew()
            assert await site.warm(asked) == await site.cold(asked)
            assert names(await site.warm(asked)) == []
            assert "roles" in (await site.until("definition")).message
            server = await served.find(bench.state, "base")
            await served.look(before, server=server, store=site.store, probe=site.probe(), progress=listen)
            assert lines == ["'pachon serve' is not used: it has other texts of roles; looking without it"]

    try:
        play(bench, tmp_path, script)
    finally:
        monkeypatch.undo()
        role_effects.read_anew()


def test_it_stands_back_while_a_run_is_at_work(bench: "Bench", tmp_path: Path) -> None:
    async def script(site: Site) -> None:
        (one, *_) = site.files
        async with serving(site):
            with hold(site.store, "base", facility="f", command="test") as lease:
                assert lease.run_id in (await site.until("paused")).message
                site.files[one].write_text("a = 2\n")
                await asyncio.sleep(3 * OFTEN.total_seconds())
                assert not [each for each in site.told if each.event == "drift-began"]
            await site.until("resumed")
            await site.until("drift-began")

    play(bench, tmp_path, script)
