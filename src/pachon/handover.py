"""Hands a site to its own controller: this program, the site's store, keys, images and definition on its admin host.

From then on ``pachon --site <site> …`` runs there too, with the links to everywhere else cut. What each site keeps of
another is public: certificates of its authorities, never their keys.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pachon.defined import CATALOGUE, entries
from pachon.drivers import parcel
from pachon.errors import PachonError, TemporaryError
from pachon.ground import Images
from pachon.model.base import Frozen
from pachon.model.facility import Facility, Host, HostName, Site
from pachon.model.stamp import digest
from pachon.progress import Event, Progress
from pachon.store.copies import copy_to_file
from pachon.store.database import Store
from pachon.store.receipts import put_receipt, receipt

STAGE = "handover"
GROUP = "admin"
HOME = "/opt/pachon/program"
KEPT = "/srv/pachon"
COMMAND = "/usr/local/bin/pachon"
STORE = "store.db"
PAUSE_SECONDS = 0.5
"""Between two looks whether the controller's host is configured."""
PUBLIC = ("*.pub", "*.crt", "*.json", "*.pem")
"""What a site keeps of the authorities of another."""
COPIED = ("artefacts/*", "keys/*", "known_hosts*", "pki/*", "facility.json", "campaigns/**/*")
WRAPPER = """#!/bin/sh
# The controller of site {site}: what it manages are real machines to it, whatever they are from outside.
export PACHON_HARDWARE=racks PACHON_STATE={kept}/state PACHON_CACHE={kept}/cache HOME=/root
export PACHON_FACILITY="${{PACHON_FACILITY:-{kept}/facilities/{facility}}}"
exec {home}/.venv/bin/pachon "$@"
"""


Program = Callable[[], Awaitable[tuple[str, Path]]]
"""Comes to the name and the file of a parcel."""


class Handed(Frozen):
    """What became of one site's controller."""

    site: str
    host: str
    done: str
    """created, updated or unchanged."""


@dataclass(frozen=True)
class Handover:
    """The hand-over of one site, in one run."""

    facility: Facility
    site: Site
    definition: Path
    state: Path
    cache: Path
    store: Store
    images: Mapping[str, Images]
    pulumi: Path
    """The engine, in a folder that bears its version."""
    program: Program
    """The parcel with this program (``parcel_of_program``)."""
    run_id: str
    progress: Progress

    @property
    def host(self) -> Host | None:
        """Where the site's controller is."""
        return host_of(self.site)

    @property
    def address(self) -> str:
        """Of its receipt."""
        return f"{self.site.name}/controller"

    async def carry_out(self, *, changed: bool) -> Handed | None:
        """Bring the controller up to date; ``changed`` says that this run left something that it does not know yet.

        Raises:
            PachonError: the admin host does not answer, or has no room; files move while they are gathered.
        """
        host = self.host
        if host is None:
            return None
        try:
            return await self._brought_up_to_date(host, changed=changed)
        except PachonError as error:
            self.progress(Event(STAGE, self.site.name, "failed", str(error)))
            raise
        except OSError as error:  # by a checkout, by an editor: of the program, of the definition, of its catalogue
            said = f"what {host.name} is to have cannot be gathered: {error}"
            self.progress(Event(STAGE, self.site.name, "failed", said))
            cure = "see what is named, then run the same command again once nobody changes these files"
            raise TemporaryError(said, cure=cure) from error

    async def _brought_up_to_date(self, host: Host, *, changed: bool) -> Handed:
        name, program = await self.program()
        texts = [_text_of(folder) for folder in (self.definition, *self._catalogues())]
        inputs = digest([name, sorted(file.digest for file in self._files()), *texts, host.machine])
        kept = receipt(self.store, self.address)
        if kept is not None and kept.inputs_digest == inputs and not changed:
            self.progress(Event(STAGE, self.site.name, "unchanged", f"{host.name} has all that it needs"))
            return Handed(site=self.site.name, host=host.name, done="unchanged")
        self.progress(Event(STAGE, self.site.name, "started", f"to {host.name}"))
        await self._send(host.name, name, program)
        put_receipt(self.store, self.address, run_id=self.run_id, inputs_digest=inputs)
        self.progress(Event(STAGE, self.site.name, "done", f"'pachon --site {self.site.name} …' runs on {host.name}"))
        return Handed(site=self.site.name, host=host.name, done="created" if kept is None else "updated")

    async def beside(self, work: Awaitable[None], *, configured: Callable[[HostName], bool]) -> None:
        """Do the work; meanwhile send what does not depend on it, once the controller's host is configured.

        What fails in that is done again, and told of, by ``carry_out``.
        """
        begun = asyncio.Event()

        async def ahead() -> None:
            while True:
                await asyncio.sleep(PAUSE_SECONDS)
                if (host := self.host) is not None and configured(host.name):
                    break
            begun.set()
            with contextlib.suppress(PachonError, OSError):
                await self._send_program(host.name, *await self.program())

        task = asyncio.create_task(ahead())
        try:
            await work
            if begun.is_set():
                await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _send_program(self, host: str, name: str, program: Path) -> None:
        """The program and what it needs of the cache: most of all that is sent, and the same from run to run."""
        config = self.state / "ssh_config"
        cached = [(path, f"{KEPT}/cache/{place}", mode) for path, place, mode in self._cached()]
        sizes = "stat -c '%s %n' " + " ".join(place for _, place, _ in cached)
        words = f"cat {HOME}/parcel 2>/dev/null; echo; {sizes} 2>/dev/null || true"
        there = (await parcel.ask(words, ssh_config=config, host=host)).splitlines()
        if there[:1] != [name]:
            self.progress(Event(STAGE, self.site.name, "moving", f"sends this program to {host}"))
            await parcel.lay_down(program, HOME, ssh_config=config, host=host)
            await parcel.ask(f"printf %s {name} > {HOME}/parcel", ssh_config=config, host=host)
        for path, place, mode in cached:
            if f"{path.stat().st_size} {place}" not in there:
                await parcel.add_file(path, place, ssh_config=config, host=host, mode=mode)

    async def _send(self, host: str, name: str, program: Path) -> None:
        config = self.state / "ssh_config"
        await self._send_program(host, name, program)
        with tempfile.TemporaryDirectory(prefix="pachon-") as scratch:
            whole = await asyncio.to_thread(self._pack_state, Path(scratch))
            await parcel.lay_down(whole, f"{KEPT}/state", ssh_config=config, host=host, mode="0700")
            rest = await asyncio.to_thread(self._pack_definition, Path(scratch))
            await parcel.lay_down(rest, f"{KEPT}/facilities", ssh_config=config, host=host)
            for catalogue in self._catalogues():
                services = await asyncio.to_thread(
                    _packed, dict(_files_of(catalogue)), Path(scratch) / "catalogue.tar.zst"
                )
                await parcel.lay_down(services, f"{KEPT}/catalogue", ssh_config=config, host=host)
            records = await asyncio.to_thread(self._pack_records, Path(scratch))
            await parcel.lay_down(records, f"{KEPT}/cache/images/records", ssh_config=config, host=host)
        wrapper = WRAPPER.format(site=self.site.name, facility=self.facility.name, kept=KEPT, home=HOME)
        words = f"""set -e
ln -sfn /usr/bin/python3 {HOME}/.venv/bin/python
mkdir -p {KEPT}/cache/images/stages
{"" if list(self._catalogues()) else f"rm -rf {KEPT}/catalogue"}
printf %s '{wrapper.replace("'", "'" + chr(92) + "''")}' > {COMMAND}.new
chmod 0755 {COMMAND}.new
mv {COMMAND}.new {COMMAND}
{COMMAND} check >/dev/null
"""
        await parcel.ask(words, ssh_config=config, host=host)

    def _catalogues(self) -> Iterator[Path]:
        """The catalogue beside the definition, read beside it there, too; the one that ships is in the program."""
        from pachon.definition.loading import catalogue_of

        found = catalogue_of(self.definition).resolve()
        if found != CATALOGUE.resolve():
            yield found

    def _cached(self) -> Iterator[tuple[Path, str, str]]:
        """Files of the cache that the site needs, their places below the cache there, and their modes."""
        yield self.pulumi, f"bin/{self.pulumi.parent.name}/{self.pulumi.name}", "0755"
        for file in self._files():
            yield file.path, f"images/{file.path.name}", "0600"
        for path in sorted((self.cache / "images").glob("*.txt")):  # lists of packages, versions of kernels
            yield path, f"images/{path.name}", "0600"

    def _files(self) -> Iterator[Any]:
        seen: set[str] = set()
        flavours = {host.flavour for host in self.site.active_hosts}
        for flavour, made in self.images.items():
            for file in (made.root, made.kernel, made.deploy) if flavour in flavours else ():
                if file.digest not in seen:
                    seen.add(file.digest)
                    yield file

    def _pack_state(self, scratch: Path) -> Path:
        own = scratch / "own"
        own.mkdir()
        contents: dict[str, Path] = {}
        for name, path in self._state_files():
            contents[f"{self.facility.name}/{name}"] = path
        copy_to_file(self.store, own / STORE)
        contents[f"{self.facility.name}/{STORE}"] = own / STORE
        config = (self.state / "ssh_config").read_text()
        (own / "ssh_config").write_text(config.replace(str(self.state), f"{KEPT}/state/{self.facility.name}"))
        contents[f"{self.facility.name}/ssh_config"] = own / "ssh_config"
        for path in own.iterdir():
            path.chmod(0o600)
        return _packed(contents, scratch / "state.tar.zst")

    def _state_files(self) -> Iterator[tuple[str, Path]]:
        others = {site.name for site in self.facility.sites} - {self.site.name}
        paths = [path for pattern in COPIED for path in self.state.glob(pattern)]
        for folder in ("ca", "pki"):
            paths += (self.state / folder / self.site.name).rglob("*")
            paths += (path for other in others for kind in PUBLIC for path in (self.state / folder / other).glob(kind))
        secrets = (self.state / "secrets").glob("*")
        paths += (path for path in secrets if not any(path.name.endswith(f"-{other}") for other in others))
        for path in paths:
            if path.is_file():
                yield str(path.relative_to(self.state)), path

    def _pack_definition(self, scratch: Path) -> Path:
        contents = {f"{self.facility.name}/{name}": path for name, path in _files_of(self.definition)}
        return _packed(contents, scratch / "definition.tar.zst")

    def _pack_records(self, scratch: Path) -> Path:
        return _packed(dict(_files_of(self.cache / "images" / "records")), scratch / "records.tar.zst")


def host_of(site: Site) -> Host | None:
    """The site's admin host, the first one that is to exist; None if the site has none."""
    return next((host for host in site.active_hosts if GROUP in host.groups), None)


def _packed(contents: Mapping[str, Path], path: Path) -> Path:
    parcel.pack(contents, path)
    return path


def parcel_of_program(cache: Path) -> tuple[str, Path]:
    """Name and file of what every site's controller runs."""
    return parcel.of_program(cache, home=HOME)


def once(make: Callable[[], tuple[str, Path]]) -> Program:
    """A parcel that is made when it is first wanted, in a thread: it takes long where it is not in the cache.

    Where that failed it is made anew for who wants it next: files may have moved meanwhile.
    """
    made: list[asyncio.Task[tuple[str, Path]]] = []

    async def parcel_made() -> tuple[str, Path]:
        if not made or _has_failed(made[0]):
            made[:] = [asyncio.create_task(asyncio.to_thread(make))]
        return await asyncio.shield(made[0])

    return parcel_made


def _has_failed(task: asyncio.Task[tuple[str, Path]]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _files_of(folder: Path) -> Iterable[tuple[str, Path]]:
    """Names and files, through links to folders as well: the definition is read through them."""
    return [(str(path.relative_to(folder)), path) for path in sorted(entries(folder)) if path.is_file()]


def _text_of(folder: Path) -> str:
    return digest([(name, path.read_bytes().hex()) for name, path in _files_of(folder)])
