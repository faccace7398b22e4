"""The edges of ``pachon.apply`` on files: an engine, plays, a probe and hand-overs that leave what can be read back.

Everything inside the edges is the real thing: plan, lease, journal, receipts, provider, and the world of files.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from infra.provider import family as doing
from infra.provider.context import Context
from infra.provider.families import FAMILIES
from infra.provider.family import SEEN
from infra.provider.folder import FolderWorld, _read, _write
from infra.provider.server import difference
from pachon.drivers.pulumi.answers import Change, Exported, Failure, PlannedAction, StackResult, Verb
from pachon.drivers.pulumi.engine import Engine, Stack
from pachon.drivers.run_file import RunFile
from pachon.errors import PachonError
from pachon.model.hardware import Kind
from pachon.progress import Event
from tests.faults.boundaries import cross
from tests.worlds import images

WORLD = "world"
"""Folder beside the state folder."""
ORDER = {Kind.MACHINE.value: 0, Kind.HOST.value: 1}
LAST = 2
Resource = dict[str, Any]


def world_of(state: Path) -> Path:
    """The world that a facility with that state folder lives in."""
    return state.parent / WORLD


class _Heard(Context):
    """A context whose events and failures are heard in this process."""

    progress: Callable[[Event], None]
    failed: dict[str, Failure]

    def tell(self, event: Event) -> None:
        """Pass it on."""
        self.progress(event)

    def tell_failure(self, address: str, error: PachonError) -> None:
        """Keep it."""
        kind = type(error).__name__
        self.failed[address] = Failure(address=address, error=kind, message=error.message, cure=error.cure)


@dataclass(frozen=True)
class _Step:
    """What is to become of one resource."""

    verb: Verb
    kind: str
    old: Resource | None
    new: Resource | None
    changed: Sequence[str] = ()

    @property
    def address(self) -> str:
        return str((self.new or self.old or {})["address"])

    @property
    def level(self) -> int:
        return ORDER.get(self.kind, LAST)

    def action(self) -> PlannedAction:
        """As the engine tells it."""
        old, new = self.old or {}, self.new or {}
        return PlannedAction(
            address=self.address,
            kind=self.kind,
            verb=self.verb,
            reason=f"{', '.join(self.changed)} changed" if self.changed else f"to {self.verb}",
            generation=str((new or old)["generation"]),
            previous_generation=str(old.get("generation", "")),
            changes=tuple(Change(key=key, before=old.get(key), after=new.get(key)) for key in self.changed),
        )


class FileEngine(Engine):
    """Does what the engine does with our provider: refresh, diff, delete before replace, state written at the end."""

    def _file_of_state(self, stack: Stack) -> Path:
        return self.state / "pulumi" / ".pulumi" / "stacks" / stack.project / f"{stack.label}.json"

    def _recorded(self, stack: Stack) -> dict[str, Resource]:
        return _read(self._file_of_state(stack)) or {}

    async def _refreshed(self, context: Context, known: dict[str, Resource], *, keep: bool) -> dict[str, Resource]:
        async def one(entry: Resource) -> Resource | None:
            try:
                found = await FAMILIES[entry["kind"]].read(context, entry["inputs"])
            except PachonError:
                if keep:
                    return entry
                raise
            return None if found is None else {**entry, "inputs": found.inputs, SEEN: found.seen}

        told = await asyncio.gather(*(one(entry) for entry in known.values()))
        return {each["inputs"]["address"]: each for each in told if each is not None}

    def _steps(self, stack: Stack, known: Mapping[str, Resource]) -> list[_Step]:
        steps = []
        declared = {each.address: each for each in stack.resources}
        for address, resource in declared.items():
            entry = known.get(address)
            if entry is None:
                steps.append(_Step("create", resource.kind.value, None, dict(resource.inputs)))
                continue
            changed, forcing = difference(resource.kind, entry["inputs"], dict(resource.inputs))
            if not changed and resource.kind is Kind.HOST and entry.get(SEEN, {}).get("on") is False:
                changed = ["on"]
            verb: Verb = "replace" if forcing else "update" if changed else "none"
            steps.append(_Step(verb, resource.kind.value, entry["inputs"], dict(resource.inputs), changed))
        gone = [entry for address, entry in known.items() if address not in declared]
        return steps + [_Step("delete", entry["kind"], entry["inputs"], None) for entry in gone]

    async def preview(self, stack: Stack, *, refresh: bool = False, keep_unseen: bool = False) -> list[PlannedAction]:
        """What ``up`` would do."""
        context = _context(self.run_file(stack), self.progress)
        try:
            known = self._recorded(stack)
            if refresh:
                known = await self._refreshed(context, known, keep=keep_unseen)
            return [step.action() for step in self._steps(stack, known)]
        finally:
            await context.close()

    async def export(self, stack: Stack) -> list[Exported]:
        """What the state has."""
        return [
            Exported(
                urn=address,
                kind=each["kind"],
                address=address,
                generation=each["inputs"]["generation"],
                inputs=each["inputs"],
            )
            for address, each in self._recorded(stack).items()
        ]

    async def up(
        self,
        stack: Stack,
        *,
        allowed: Any = None,
        destroy_data: Sequence[str] = (),
        refresh: bool = False,
        keep_unseen: bool = False,
    ) -> StackResult:
        """Bring it about."""
        run = self.run_file(stack, allowed=allowed, destroy_data=destroy_data, keep_unseen=keep_unseen)
        context = _context(run, self.progress)
        cross(f"{stack.site}/stack/{stack.name}/engine/begin")
        try:
            known = self._recorded(stack)
            if refresh:
                known = await self._refreshed(context, known, keep=keep_unseen)
            steps = self._steps(stack, known)
            actions = await self._carry_out(context, steps, known)
        finally:
            await context.close()
        cross(f"{stack.site}/stack/{stack.name}/state/before-write")
        _write(self._file_of_state(stack), known)
        cross(f"{stack.site}/stack/{stack.name}/state/after-write")
        failures = tuple(context.failed.values())
        return StackResult(outputs={"document": {"stack": stack.name}}, actions=actions, failures=failures)

    @staticmethod
    async def _carry_out(
        context: _Heard, steps: Sequence[_Step], known: dict[str, Resource]
    ) -> tuple[PlannedAction, ...]:
        done: list[PlannedAction] = []

        async def one(step: _Step) -> None:
            kind = FAMILIES[step.kind]
            under = step.new or {}
            if step.kind == Kind.HOST.value and f"{under.get('site')}/machine/{under.get('serial')}" in context.failed:
                return  # a host depends on its machine
            try:
                state: Resource | None = None
                if step.verb in ("delete", "replace"):
                    await doing.delete(context, kind, dict(step.old or {}))
                    known.pop(step.address, None)
                if step.verb in ("create", "replace"):
                    state = await doing.create(context, kind, dict(step.new or {}))
                elif step.verb == "update":
                    state = await doing.update(context, kind, dict(step.old or {}), dict(step.new or {}))
            except PachonError:
                return
            if state is not None:
                known[step.address] = {"kind": step.kind, "inputs": step.new, SEEN: state[SEEN]}
            done.append(step.action())

        making = [step for step in steps if step.verb != "delete"]
        removing = [step for step in steps if step.verb == "delete"]
        for level in range(LAST + 1):
            if not (level == LAST and context.failed):  # networks need their switches
                await asyncio.gather(*(one(step) for step in making if step.level == level))
        for level in reversed(range(LAST + 1)):
            await asyncio.gather(*(one(step) for step in removing if step.level == level))
        return tuple(done)


def _context(run: RunFile, progress: Callable[[Event], None]) -> _Heard:
    context = _Heard(run, FolderWorld(Path(run.folder)))
    context.progress, context.failed = progress, {}
    return context


class FileParcels:
    """Stands in for ``pachon.drivers.parcel``: what is laid down on a host is a line in its file."""

    def __init__(self, world: Path) -> None:
        self._world = world

    def _lay(self, host: str, place: str, what: str) -> None:
        path = self._world / "controllers" / f"{host}.json"
        cross(f"here/controller/{place.rpartition('/')[2]}/before-effect")
        _write(path, {**(_read(path) or {}), place: what})
        cross(f"here/controller/{place.rpartition('/')[2]}/after-effect")

    async def ask(self, words: str, *, ssh_config: Path, host: str) -> str:
        """What is there, or what was done."""
        there = _read(self._world / "controllers" / f"{host}.json") or {}
        if not words.startswith("cat "):
            self._lay(host, "/parcel", "program")
        return str(there.get("/parcel", ""))

    async def lay_down(self, parcel: Path, place: str, *, ssh_config: Path, host: str, mode: str = "0755") -> None:
        """Lay it down."""
        self._lay(host, place, parcel.name)

    async def add_file(self, path: Path, place: str, *, ssh_config: Path, host: str, mode: str = "0644") -> None:
        """Lay it down."""
        self._lay(host, place, path.name)

    def pack(self, contents: Mapping[str, Path], parcel: Path) -> None:
        """Pack it."""
        parcel.write_text(json.dumps(sorted(contents)))


@dataclass(frozen=True)
class FileGround:
    """Racks whose images are names."""

    folder: Path
    version: int = 1
    kind: str = "racks"
    lacks: Sequence[str] = ()
    endpoints: Mapping[str, Any] = field(default_factory=dict)

    async def images(self, flavours: Sequence[str], *, cache: Path, progress: Any) -> dict[str, Any]:
        """A file of each."""
        return {flavour: self._image(flavour) for flavour in flavours}

    def _image(self, flavour: str) -> Any:
        facts = images(self.version)[flavour]

        def file(kind: str, digest: str, raw_digest: str, raw_size_bytes: int) -> Any:
            path = self.folder / f"{flavour}-{kind}"
            return SimpleNamespace(digest=digest, raw_digest=raw_digest, raw_size_bytes=raw_size_bytes, path=path)

        return SimpleNamespace(
            root=file("root", facts.digest, facts.raw_digest, facts.raw_size_bytes),
            kernel=file("kernel", facts.kernel_digest, "", facts.kernel_raw_size_bytes),
            deploy=file("deploy", f"deploy-{flavour}", "", 0),
        )

    async def up(self, state: Path, progress: Any) -> None:
        """It stands."""

    def boot_settings(self, site: Any) -> dict[str, Any]:
        """None."""
        return {}
