"""The controller's side of the engine: starts the process of each operation, follows its events, reads its answer."""

import asyncio
import json
import os
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from pachon import places
from pachon.drivers import program
from pachon.drivers.pulumi import locks
from pachon.drivers.pulumi.answers import Exported, Failure, PlannedAction, StackResult
from pachon.drivers.pulumi.child import Answer, Request, Verb
from pachon.drivers.pulumi.following import follow
from pachon.drivers.pulumi.listening import exported
from pachon.drivers.run_file import VARIABLE, Allowed, Budgets, Declared, Endpoint, RunFile, SiteAccess
from pachon.errors import PermanentError
from pachon.model.facility import Facility
from pachon.model.hardware import STACKS, ImageFacts, Kind, ResourceInputs, StackName, inputs_of
from pachon.processes import run_group
from pachon.progress import Event, Progress, silent

BACKEND_VARIABLE = "PACHON_PULUMI_BACKEND"
"""Setting: any Pulumi backend's address instead of the file backend in the state folder (without a password)."""

LOGS_KEPT = 20
"""Of one stack; each run has its own."""
LONGEST = timedelta(hours=12)
PARALLEL = 512


class Writer(Protocol):
    """Whoever holds a site's lease (``pachon.store.lease.Lease`` is one)."""

    @property
    def run_id(self) -> str:
        """Its run."""

    @property
    def fencing_token(self) -> int:
        """Its token."""


@dataclass(frozen=True)
class Stack:
    """One hardware stack of a site, with what it is made from."""

    name: StackName
    facility: Facility
    site: str
    images: Mapping[str, ImageFacts]

    @property
    def project(self) -> str:
        """Its Pulumi project."""
        return f"pachon-{self.name}"

    @property
    def label(self) -> str:
        """Its name in that project."""
        return f"{self.facility.name}-{self.site}"

    @property
    def resources(self) -> list[ResourceInputs]:
        """What it declares."""
        return inputs_of(self.facility, self.site, self.images)[self.name]


@dataclass(frozen=True)
class Engine:
    """How the engine is run for one facility: all settings of its operations."""

    pulumi: Path
    """The CLI."""
    state: Path
    """The facility's state folder."""
    lease: Writer | None = None
    """Of the site worked on; without it only previews and exports are possible."""
    progress: Progress = silent
    world: str = "racks"
    folder: Path | None = None
    """Of the world of files, in tests."""
    image_paths: Mapping[str, Path] = field(default_factory=dict)
    """File of each image and kernel by digest."""
    sites: Mapping[str, SiteAccess] = field(default_factory=dict)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    budgets: Budgets = field(default_factory=Budgets)
    destroy_until: datetime | None = None
    """When the approval of what is destroyed ends."""
    store: str = ""
    """File or address of the control store; default: ``places.store``."""
    backend: str = ""
    """Address of a Pulumi backend; default the file backend S/pulumi."""

    async def preview(self, stack: Stack, *, refresh: bool = False, keep_unseen: bool = False) -> list[PlannedAction]:
        """What ``up`` would do, by address; with ``refresh`` after a look at the world.

        ``keep_unseen``: what does not answer counts as it was recorded, instead of ending the look.

        Raises:
            PermanentError: the engine fails, or inputs are wrong.
        """
        answer = await self._run("preview", stack, refresh=refresh, keep_unseen=keep_unseen)
        if answer.plug_in_ended:  # the engine gives one that is slow to begin, on a busy machine, half a minute
            self.progress(Event(stack.name, stack.site, "moving", "asking once more: the provider was not heard of"))
            answer = await self._run("preview", stack, refresh=refresh, keep_unseen=keep_unseen)
        _result(answer, (), 0.0).raise_if_failed(f"preview of {stack.project}/{stack.label}")
        return list(answer.actions)

    async def up(
        self,
        stack: Stack,
        *,
        allowed: Sequence[Allowed] | None = None,
        destroy_data: Sequence[str] = (),
        refresh: bool = False,
        keep_unseen: bool = False,
    ) -> StackResult:
        """Bring the stack about; one resource that fails does not stop the others (see ``raise_if_failed``).

        ``allowed``: the provider does nothing else. ``destroy_data``: volumes that may go with data in them.
        ``keep_unseen``: as for ``preview``.
        """
        return await self._change(
            "up", stack, allowed=allowed, destroy_data=destroy_data, refresh=refresh, keep_unseen=keep_unseen
        )

    async def refresh(self, stack: Stack) -> StackResult:
        """Bring the engine's state to what the world shows."""
        return await self._change("refresh", stack)

    async def destroy(
        self, stack: Stack, *, allowed: Sequence[Allowed] | None = None, destroy_data: Sequence[str] = ()
    ) -> StackResult:
        """Remove all that the stack made."""
        return await self._change("destroy", stack, allowed=allowed, destroy_data=destroy_data)

    async def import_(self, stack: Stack, addresses: Sequence[str]) -> list[Exported]:
        """Take resources that stand in the world into the engine's state; all that it then has."""
        declared = {resource.address: resource for resource in stack.resources}
        missing = [address for address in addresses if address not in declared]
        if missing:
            raise PermanentError(
                f"{stack.project}/{stack.label} declares no {', '.join(missing)}",
                cure="an import needs the resource in the definition, with the address it is to have",
            )
        machines = {
            f"{stack.site}/machine/{declared[address].inputs['serial']}"
            for address in addresses
            if declared[address].kind is Kind.HOST
        }
        targets = sorted({*addresses, *machines, f"{stack.site}/{stack.name}"})
        result = await self._change("import", stack, imports=tuple(addresses), targets=tuple(targets))
        result.raise_if_failed(f"import into {stack.project}/{stack.label}")
        return await self.export(stack)

    async def export(self, stack: Stack) -> list[Exported]:
        """What the engine's state has of the stack; a file backend's is read without starting the engine."""
        kept = None if self.own_backend else locks.deployment(self.state / "pulumi", stack.project, stack.label)
        if kept is not None:
            return list(exported(kept))
        return list((await self._run("export", stack)).resources)

    async def _change(self, verb: Verb, stack: Stack, **further: Any) -> StackResult:
        if self.lease is None:
            raise PermanentError(
                f"{verb} without the lease of {stack.site}", cure="this is a fault of Pachon: report it"
            )
        began = time.monotonic()
        failures = self._file(stack, "failures.jsonl")
        failures.unlink(missing_ok=True)
        answer = await self._run(verb, stack, **further)
        log = self._log(stack, self.lease.run_id)
        return _result(answer, _told(failures), time.monotonic() - began).model_copy(update={"log": str(log)})

    async def _run(
        self,
        verb: Verb,
        stack: Stack,
        *,
        allowed: Sequence[Allowed] | None = None,
        destroy_data: Sequence[str] = (),
        keep_unseen: bool = False,
        **further: Any,
    ) -> Answer:
        run_id = self.lease.run_id if self.lease else f"preview-{secrets.token_hex(6)}"
        events, answer = self._file(stack, "events.jsonl"), self._file(stack, "answer.json")
        log = self._log(stack, run_id)
        _forget_logs(log.parent)
        for path in (events, answer):
            path.unlink(missing_ok=True)
        document = self.run_file(stack, run_id, allowed=allowed, destroy_data=destroy_data, keep_unseen=keep_unseen)
        run_file = document.write(self._file(stack, "run.json"))
        request = Request(
            verb=verb,
            project=stack.project,
            stack=stack.label,
            program=f"stacks.{stack.name}",
            arguments=str(self._arguments(stack)),
            pulumi=str(self.pulumi),
            work=str(_folder(self.state / "pulumi" / "work" / f"{stack.project}-{stack.label}")),
            home=str(_folder(self.state / "pulumi" / "home")),
            backend="" if self.own_backend else str(_folder(self.state / "pulumi")),
            run_id=run_id,
            leased=self.lease is not None,
            parallel=PARALLEL,
            answer=str(answer),
            log=str(log),
            **further,
        )
        request_path = self._file(stack, "request.json")
        request_path.write_text(request.model_dump_json())
        environment = self._environment(run_id, run_file)
        argv = [sys.executable, "-m", "pachon.drivers.pulumi", str(request_path)]
        follower = asyncio.create_task(follow(events, stack.name, self.progress))
        try:
            done = await program.run(argv, timeout=LONGEST, environment=environment, check=False)
        except BaseException:
            await asyncio.to_thread(run_group.end, run_id)
            raise
        finally:
            await asyncio.sleep(0)
            follower.cancel()
            with suppress(asyncio.CancelledError):
                await follower
            if self.lease is None:
                run_group.forget(run_id)
        with log.open("a") as file:
            file.write(done.stdout + done.stderr)
        return _read(answer, f"{verb} of {stack.project}/{stack.label}", done, log)

    @property
    def own_backend(self) -> str:
        """Address of the backend that has the engine's state, where that is not the state folder."""
        return self.backend or os.environ.get(BACKEND_VARIABLE, "")

    def _file(self, stack: Stack, name: str) -> Path:
        return _folder(self.state / "pulumi" / "runs" / f"{stack.project}-{stack.label}") / name

    def _log(self, stack: Stack, run_id: str) -> Path:
        """The one file that takes what engine and plug-in say of this stack in that run."""
        return _folder(self._file(stack, "logs")) / f"{run_id}.log"

    def _arguments(self, stack: Stack) -> Path:
        path = _folder(self.state / "pulumi" / "arguments") / f"{stack.project}-{stack.label}.json"
        images = {flavour: facts.model_dump(mode="json") for flavour, facts in sorted(stack.images.items())}
        facility = stack.facility.model_dump(mode="json")
        path.write_text(json.dumps({"facility": facility, "site": stack.site, "images": images}))
        return path

    def run_file(
        self,
        stack: Stack,
        run_id: str = "",
        *,
        allowed: Sequence[Allowed] | None = None,
        destroy_data: Sequence[str] = (),
        keep_unseen: bool = False,
        resources: Mapping[StackName, Sequence[ResourceInputs]] | None = None,
    ) -> RunFile:
        """The document that the provider is given for an operation on this stack.

        ``resources``: those of all stacks of the site, where they have been worked out.
        """
        all_ = resources or inputs_of(stack.facility, stack.site, stack.images)
        declared = {
            resource.address: Declared(kind=resource.kind.value, inputs=resource.inputs)
            for name in STACKS
            for resource in all_[name]
        }
        return RunFile(
            facility=stack.facility.name,
            site=stack.site,
            run_id=run_id or (self.lease.run_id if self.lease else ""),
            fencing_token=self.lease.fencing_token if self.lease else 0,
            state=str(self.state),
            store=self.store or places.store(self.state),
            events=str(self._file(stack, "events.jsonl")),
            failures=str(self._file(stack, "failures.jsonl")),
            world="folder" if self.world == "folder" else "racks",
            folder=str(self.folder or ""),
            sites=dict(self.sites) or _default_sites(stack.facility, self.state),
            allowed=None if allowed is None else tuple(allowed),
            destroy_until=self.destroy_until,
            destroy_data=tuple(destroy_data),
            keep_unseen=keep_unseen,
            images={digest: str(path) for digest, path in self.image_paths.items()},
            endpoints=dict(self.endpoints),
            budgets=self.budgets,
            definition=declared,
        )

    def _environment(self, run_id: str, run_file: Path) -> dict[str, str]:
        """All that the process sees: nothing of ours is inherited but where programs and the home are."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "/usr/bin:/bin")])
        kept = {key: os.environ[key] for key in ("HOME", "LANG", "TMPDIR", "USER") if key in os.environ}
        return {
            **kept,
            **run_group.marked(run_id),
            **places.imports(),
            "PATH": path,
            VARIABLE: str(run_file),
            "PULUMI_BACKEND_URL": self.own_backend or f"file://{_folder(self.state / 'pulumi')}",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(_passphrase(self.state)),
            "GOGC": "400",  # the CLI lives for seconds, a tenth of which went into collecting its garbage
            "OTEL_SDK_DISABLED": "true",
            "PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_HOME": str(_folder(self.state / "pulumi" / "home")),
            "PULUMI_SKIP_CHECKPOINTS": "true",
            "PULUMI_EXPERIMENTAL": "true",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
        }


def _default_sites(facility: Facility, state: Path) -> dict[str, SiteAccess]:
    return {
        site.name: SiteAccess(
            boot_socket=str(state / "boot" / site.name / "admin.sock"), deploys_per_rack=site.deploy.per_rack
        )
        for site in facility.sites
    }


def _folder(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _passphrase(state: Path) -> Path:
    """The file with the passphrase of the engine's state, made once; nothing secret is ever put into that state."""
    path = _folder(state / "secrets") / "pulumi-passphrase"
    if not path.exists():
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.touch(mode=0o600)
        temporary.write_text(secrets.token_urlsafe(32))
        with suppress(FileExistsError):
            os.link(temporary, path)
        temporary.unlink()
    return path


def _forget_logs(folder: Path) -> None:
    """Remove the oldest logs of a stack."""
    written: list[tuple[int, Path]] = []
    for path in folder.glob("*.log"):
        with suppress(FileNotFoundError):
            written.append((path.stat().st_mtime_ns, path))
    for _, path in sorted(written)[: -LOGS_KEPT + 1]:
        path.unlink(missing_ok=True)


def _read(path: Path, what: str, done: program.Output, log: Path) -> Answer:
    try:
        answer = Answer.model_validate_json(path.read_text())
    except FileNotFoundError:
        said = " / ".join((done.stderr or done.stdout).strip().splitlines()[-6:])
        raise PermanentError(
            f"{what}: its process ended with status {done.status} and no answer: {said}",
            cure=f"run again: what is done stays done; its log is {log}",
        ) from None
    if answer.error is not None:
        raise answer.error.as_error()
    return answer


def _told(path: Path) -> tuple[Failure, ...]:
    """Failures as the provider wrote them, whole; the engine's own words for them are poorer."""
    with suppress(FileNotFoundError):
        return tuple(Failure.model_validate_json(line) for line in path.read_text().splitlines())
    return ()


def _result(answer: Answer, told: Sequence[Failure], seconds: float) -> StackResult:
    whole = {failure.address: failure for failure in answer.failures}
    whole.update({failure.address: failure for failure in told if failure.address in whole})
    return StackResult(
        outputs=answer.outputs,
        actions=answer.actions,
        failures=tuple(whole[address] for address in sorted(whole)),
        said=answer.said,
        seconds=seconds,
    )
