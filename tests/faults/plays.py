"""Hosts of a world of files: plays that leave what can be read back, and a probe that looks at it and sweeps it."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from infra.provider.folder import _read, _write
from pachon.drivers.ansible import Effects, Ended, Line, PlayBegan, Playbook, Result, Verdict
from pachon.drivers.probe import RECORD, Rest
from pachon.errors import PachonError
from pachon.hostvars import ROLES
from pachon.model.manifest import Subject
from tests.fake_plays import FakeProbe
from tests.faults.boundaries import cross

LOSING = "log_host"
"""A role that a host has at first and then loses; its tasks tell what they leave."""
LEFT_BY_TASKS = "/etc/filed/"
"""Folder of the hosts in which each task of it has a file."""


class FilePlays:
    """Plays roles on hosts of a world of files: a file per role, and a handler that has it loaded."""

    def __init__(self, world: Path, heartbeat: Callable[[], None]) -> None:
        self._world = world
        self._heartbeat = heartbeat
        self.failing: Callable[[str, str], bool] = lambda role, host: False

    async def play(self, book: Playbook, *, run_id: str, on_line: Callable[[Line], None]) -> str:
        """Play it."""
        self._heartbeat()
        lost: set[str] = set()
        for part in book.parts:
            on_line(PlayBegan(kind="play", play=part.name))
            verdicts = {}
            for host in part.hosts:
                if host not in lost:
                    verdicts[host] = await asyncio.to_thread(self._on_host, part.role, host, book, part.name, on_line)
            lost |= {host for host, verdict in verdicts.items() if verdict.state != "ok"}
            on_line(Ended(kind="ended", play=part.name, verdicts=verdicts))
            for host in part.hosts:
                cross(f"{self._address(host)}/role/{part.role}/ended")
            if verdicts and all(verdict.state != "ok" for verdict in verdicts.values()):
                return "no more hosts left"
        return ""

    @staticmethod
    def _address(host: str) -> str:
        return f"here/host/{host}"

    def _on_host(self, role: str, host: str, book: Playbook, play: str, on_line: Callable[[Line], None]) -> Verdict:
        """A task that writes the role's arguments, a second one, and a handler for both."""
        where = f"{self._address(host)}/role/{role}"
        cross(f"{where}/begin")
        installed = installation(self._world, host)
        if not installed:
            return Verdict(state="unreachable", changed=0, task="", message="no SSH answer")
        if self.failing(role, host):
            return Verdict(state="failed", changed=0, task=f"{role} : Write", message="told to fail")
        path = self._world / "plays" / f"{host}.json"
        variables = book.variables[host]
        wanted = _digest({key: value for key, value in variables.items() if _is_of(key, role)})
        changed = 0
        for task in ("file", "unit"):
            state = _installed(path, installed)
            mine = state["roles"].setdefault(role, {})
            if mine.get(task) != wanted:
                mine[task] = wanted
                cross(f"{where}/task-{task}/before-effect")
                _write(path, state)
                changed += 1
                cross(f"{where}/task-{task}/after-effect")
                line = {"kind": "result", "play": play, "host": host, "task": f"{role} : {task}", "message": ""}
                on_line(Result.model_validate({**line, "handler": False, "state": "changed"}))
        if changed or variables.get(f"{role}_settle"):
            cross(f"{where}/handler/before-effect")
            state = _installed(path, installed)
            state["roles"][role]["loaded"] = wanted
            _write(path, state)
            cross(f"{where}/handler/after-effect")
        if role == LOSING:
            on_line(_effects(role, host, play))
        return Verdict(state="ok", changed=changed, task="", message="")


def _effects(role: str, host: str, play: str) -> Effects:
    tasks = [
        {
            "task": f"{role} : {task}",
            "effects": [{"kind": "file", "name": f"{LEFT_BY_TASKS}{role}/{task}", "aspects": ["mode"]}],
        }
        for task in ("file", "unit")
    ]
    return Effects.model_validate({"kind": "effects", "play": play, "host": host, "tasks": tasks})


def foreseen(role: str, *given: Any, **named: Any) -> list[Subject]:
    """What the text of the role says that its tasks leave."""
    return [
        Subject(kind="file", name=f"{LEFT_BY_TASKS}{role}/{task}", owner=task)
        for task in (("file", "unit") if role == LOSING else ())
    ]


class FileProbe(FakeProbe):
    """Hosts that have what roles left there; of the role that one of them loses, what its file in the world says."""

    def __init__(self, world: Path) -> None:
        super().__init__()
        self._world = world

    def _has(self, host: str, kind: str, name: str, aspect: str) -> str:
        if name.startswith(LEFT_BY_TASKS) and name.rpartition("/")[2] not in self._left(host)["roles"].get(LOSING, {}):
            return "absent" if aspect == "is" else ""
        return super()._has(host, kind, name, aspect)

    def _left(self, host: str) -> dict[str, Any]:
        return _installed(self._world / "plays" / f"{host}.json", installation(self._world, host))

    async def sweep(
        self, addresses: Mapping[str, str], rest: Mapping[str, Rest], *, token: int, limit: timedelta = RECORD
    ) -> dict[str, Sequence[str] | PachonError]:
        """Take away what the role left, then have its daemon take notice."""
        for host, each in rest.items():
            where = f"here/host/{host}/sweep"
            steps = [path.rpartition("/")[2] for path in each.paths if path.startswith(LEFT_BY_TASKS)]
            for step in [*steps, *(["loaded"] if each.reload else [])]:
                cross(f"{where}/{step}/before-effect")
                state = self._left(host)
                state["roles"].get(LOSING, {}).pop(step, None)
                state["roles"] = {role: told for role, told in state["roles"].items() if told}
                _write(self._world / "plays" / f"{host}.json", state)
                cross(f"{where}/{step}/after-effect")
        return await super().sweep(addresses, rest, token=token, limit=limit)


def _is_of(key: str, role: str) -> bool:
    """Whether a variable is an argument of that role and of none whose name begins with its name."""
    owners = [each for each in ROLES if key.startswith(f"{each}_")]
    return bool(owners) and max(owners, key=len) == role and not key.endswith("_settle")


def installation(world: Path, host: str) -> str:
    """Which installation of the host answers: its machine and how often that was written; empty if none does."""
    for path in sorted((world / "machines").glob("*.json")):
        found = _read(path) or {}
        if found["on"] and found["stamp"].partition("@")[0] == f"here/host/{host}":
            return f"{found['serial']}/{found['images_written']}"
    return ""


def installations(world: Path) -> dict[str, tuple[str, ...]]:
    """What tells an installation from the one before on the same machine, by serial."""
    machines = [_read(path) or {} for path in sorted((world / "machines").glob("*.json"))]
    return {each["serial"]: (f"{each['serial']}/{each['images_written']}",) for each in machines}


def _installed(path: Path, installed: str) -> dict[str, Any]:
    state = _read(path)
    return state if state is not None and state["installation"] == installed else _fresh(installed)


def _fresh(installed: str) -> dict[str, Any]:
    return {"installation": installed, "roles": {}}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
