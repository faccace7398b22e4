"""One operation of the engine, inside the process that was started for it: the SDK keeps global state.

Reads a request, carries it out by the Automation API with an inline program, writes the answer. Everything it starts
dies with the controller: a thread watches for that.
"""

import contextlib
import importlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pachon.drivers.pulumi import locks
from pachon.drivers.pulumi.answers import Exported, Failure, PlannedAction
from pachon.drivers.pulumi.listening import Listener, exported
from pachon.errors import PachonError, PermanentError, RefusedError
from pachon.model.base import Frozen
from pachon.model.facility import Facility
from pachon.model.hardware import ImageFacts
from pachon.processes import run_group

Verb = Literal["preview", "up", "refresh", "destroy", "import", "export"]
WATCH_SECONDS = 0.3
STUCK_SECONDS = 10.0
"""How long the engine may do nothing at all after the delete of a replacement failed."""


class Request(Frozen):
    """What the process is to do."""

    verb: Verb
    project: str
    stack: str
    program: str
    """Module whose ``program(facility, site, images, imports)`` declares the stack."""
    arguments: str
    """File with facility, site and images."""
    pulumi: str
    """The CLI."""
    work: str
    """Folder of the stack's settings."""
    home: str
    backend: str
    """Folder of a file backend, or empty for another one."""
    run_id: str
    leased: bool
    """Whether we hold the site's lease, without which no stale lock is cleared."""
    refresh: bool = False
    parallel: int
    imports: tuple[str, ...] = ()
    """Addresses of the resources to import."""
    targets: tuple[str, ...] = ()
    """Names of all resources that an import may touch."""
    answer: str
    """File that takes the answer."""
    log: str
    """File that takes what the engine and the plug-in say."""


class Answer(Frozen):
    """What came of it."""

    outputs: dict[str, Any] = Field(default_factory=dict)
    actions: tuple[PlannedAction, ...] = ()
    failures: tuple[Failure, ...] = ()
    said: tuple[str, ...] = ()
    resources: tuple[Exported, ...] = ()
    plug_in_ended: bool = False
    """Whether the provider's process ended, or was not heard of in time, before the operation was through."""
    error: Failure | None = None
    """What kept the operation from being carried out at all."""


def main(path: Path) -> None:
    """Carry out the request in that file."""
    request = Request.model_validate_json(path.read_text())
    run_group.enter(request.run_id)
    threading.Thread(target=_die_with, args=(os.getppid(), request.run_id), daemon=True).start()
    try:
        answer = _perform(request)
    except PachonError as error:
        failure = Failure(address="", error=type(error).__name__, message=error.message, cure=error.cure)
        answer = Answer(error=failure)
    target = Path(request.answer)
    temporary = target.with_suffix(".new")
    temporary.write_text(answer.model_dump_json())
    temporary.replace(target)


def _die_with(parent: int, run_id: str) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    run_group.end(run_id)
    os.kill(os.getpid(), signal.SIGKILL)


def _end_when_stuck(listener: Listener) -> None:
    """End the CLI when it waits for what will never come: first kindly, so that it writes down what was done."""
    import psutil

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        asked = time.monotonic()
        while listener.stuck_seconds() < STUCK_SECONDS or time.monotonic() - asked < STUCK_SECONDS:
            time.sleep(WATCH_SECONDS)
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(number)


def _perform(request: Request) -> Answer:
    from pulumi.automation.errors import CommandError, ConcurrentUpdateError

    stack = _stack(request)
    listener = Listener(Path(request.log))
    threading.Thread(target=_end_when_stuck, args=(listener,), daemon=True).start()
    try:
        if request.leased and request.verb not in ("preview", "export"):
            _clear(request, stack)
        match request.verb:
            case "export":
                return Answer(resources=exported(stack.export_stack().deployment))
            case _:
                _operation(request, stack)(on_event=listener, parallel=request.parallel)
    except ConcurrentUpdateError as error:
        raise RefusedError(
            f"stack {request.project}/{request.stack} is locked in its backend: {error}",
            cure="another controller writes to it; if that is surely not so, run 'pulumi cancel' on the stack",
        ) from error
    except CommandError as error:
        if not listener.failed and not listener.said:
            raise PermanentError(
                f"pulumi {request.verb} of {request.project}/{request.stack} failed: {_tail(str(error))}",
                cure=f"see the message; 'pachon doctor' checks the programs; its log is {request.log}",
            ) from error
    listener.settle()
    return Answer(
        outputs=listener.outputs,
        actions=listener.actions(),
        plug_in_ended=listener.plug_in_ended,
        failures=tuple(listener.failed.values()),
        said=tuple(text for text in listener.said if listener.failed == {} or "failed" not in text),
    )


def _operation(request: Request, stack: Any) -> Callable[..., Any]:
    match request.verb:
        case "preview":
            return partial(stack.preview, refresh=request.refresh or None)
        case "up":
            return partial(stack.up, continue_on_error=True, refresh=request.refresh or None)
        case "import":
            return partial(stack.up, target=[f"**::{name}" for name in request.targets])
        case "refresh":
            return partial(stack.refresh)
        case "destroy":
            return partial(stack.destroy, continue_on_error=True)
        case _:
            raise PermanentError(f"there is no operation {request.verb}", cure="this is a fault of Pachon: report it")


def _stack(request: Request) -> Any:
    """The stack, made if it is new; without the CLI's help where the file backend shows that it is there."""
    from pulumi import automation
    from pulumi.automation import LocalWorkspace, ProjectSettings, PulumiCommand
    from pulumi.automation._stack import StackInitMode
    from pulumi.automation.errors import StackAlreadyExistsError
    from semver import VersionInfo

    _silence_debug_log()

    class Command(PulumiCommand):
        def __init__(self, path: str) -> None:
            self.command = path
            self.version = VersionInfo.parse("3.250.0")  # checked where the program was found

    class Quick(automation.Stack):
        """Leaves out three CLI calls after each operation: outputs come by event, the summary is not used."""

        def __init__(self, name: str, workspace: LocalWorkspace) -> None:
            self.name = name
            self.workspace = workspace
            self._mode = StackInitMode.SELECT

        def outputs(self) -> dict[str, Any]:
            return {}

        def info(self, show_secrets: bool = True) -> Any:
            return object()

    arguments = json.loads(Path(request.arguments).read_text())
    facility = Facility.model_validate(arguments["facility"])
    images = {flavour: ImageFacts.model_validate(facts) for flavour, facts in arguments["images"].items()}
    module = importlib.import_module(request.program)

    def program() -> None:
        module.program(facility, arguments["site"], images, request.imports)

    workspace = LocalWorkspace(
        work_dir=request.work,
        pulumi_home=request.home,
        program=program,
        secrets_provider="passphrase",
        project_settings=ProjectSettings(name=request.project, runtime="python"),
        pulumi_command=Command(request.pulumi),
    )
    name = f"organization/{request.project}/{request.stack}" if request.backend else request.stack
    settings = Path(request.work) / f"Pulumi.{request.stack}.yaml"
    known = request.backend and locks.state_file(Path(request.backend), request.project, request.stack).exists()
    if request.backend and not known:
        with contextlib.suppress(StackAlreadyExistsError):
            automation.Stack.create(name, workspace)
    elif not (known and settings.exists()):
        automation.Stack.create_or_select(name, workspace)
    return Quick(name, workspace)


def _clear(request: Request, stack: Any) -> None:
    """Clear what a dead engine left: its lock, and operations that it calls pending (our journal knows better)."""
    if not request.backend:
        return
    backend = Path(request.backend)
    if locks.stale(backend, request.project, request.stack):
        stack.cancel()
        for path in locks.locks_of(backend, request.project, request.stack):
            path.unlink(missing_ok=True)
    if locks.pending(backend, request.project, request.stack):
        deployment = stack.export_stack()
        deployment.deployment["pending_operations"] = []
        stack.import_stack(deployment)


def _silence_debug_log() -> None:
    """Keep the SDK from sending debug lines for each resource: a quarter of all time, and nobody reads them."""
    import pulumi.log

    def silent(*_: object, **__: object) -> None:
        return

    pulumi.log.debug = silent


def _tail(text: str) -> str:
    return " / ".join(line.strip() for line in text.splitlines() if line.strip())[-1500:]
