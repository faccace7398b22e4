"""Tells ``pachon`` of plays while they run: a JSON line on standard output for whatever changed, failed or ended."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

from pachon.model.effects import effects_of

DOCUMENTATION = """
name: pachon_lines
type: stdout
short_description: Tell of plays in lines of JSON
description:
  - A line when a play begins, for each task or handler that changed something or failed on a host, and when a play has
    ended with all its handlers, what came of it on each host, and what its tasks manage there.
  - A failure that a C(rescue) takes up counts as a failure; our roles have none.
author: Pachon
version_added: "0.1"
"""

LONGEST = 600
FAILED = ("failed", "unreachable")
PLACES = ("path", "dest", "name", "src")


class CallbackModule(CallbackBase):
    """Writes lines."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "pachon_lines"

    def __init__(self) -> None:
        super().__init__()
        self._play = ""
        self._verdicts: dict[str, dict[str, Any]] = {}
        self._handlers: set[str] = set()
        self._effects: dict[str, list[dict[str, Any]]] = {}

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """End the last play: its handlers have run."""
        self._end()
        self._play = play.get_name()
        self._tell({"kind": "play", "play": self._play})

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """End the last play."""
        self._end()

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Know that its results are a handler's."""
        self._handlers.add(task._uuid)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Count what changed something."""
        self._take(result, "changed" if result.is_changed() else "ok")
        if result.task._uuid not in self._handlers:  # they run or not; what they leave is read from the role
            self._effects.setdefault(result.host.get_name(), []).append(self._managed(result))

    def v2_runner_on_skipped(self, result: Any) -> None:
        """Know that the host is there."""
        self._take(result, "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Tell why."""
        self._take(result, "ok" if ignore_errors else "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Tell why."""
        self._take(result, "unreachable")

    def _take(self, result: Any, state: str) -> None:
        host, task = result.host.get_name(), result.task.get_name()
        verdict = self._verdicts.setdefault(host, {"state": "ok", "changed": 0, "task": "", "message": ""})
        if state == "ok":
            return
        message = self._why(result) if state in FAILED else ""
        if state in FAILED:
            verdict.update(state=state, task=task, message=message)
        else:
            verdict["changed"] += 1
            if verdict["state"] == "ok":
                verdict["state"] = state
        handler = result.task._uuid in self._handlers
        told = {"host": host, "task": task, "handler": handler, "state": state, "message": message}
        self._tell({"kind": "result", "play": self._play, **told})

    def _end(self) -> None:
        for host, tasks in self._effects.items():
            self._tell({"kind": "effects", "play": self._play, "host": host, "tasks": tasks})
        if self._play:
            self._tell({"kind": "ended", "play": self._play, "verdicts": self._verdicts})
        self._play, self._verdicts, self._effects = "", {}, {}

    @staticmethod
    def _why(result: Any) -> str:
        """The reason, with what a program said; results that are hidden are hidden by Ansible before they come here."""
        found = result.result
        if "censored" in found:
            return "its output is hidden, since it works with secrets"
        items = [item for item in found.get("results") or [] if isinstance(item, dict) and item.get("failed")]
        found = items[0] if items else found
        said = str(found.get("stderr") or found.get("module_stderr") or found.get("stdout") or "").strip()
        words = [str(found.get("msg") or "no reason was given").strip(), *said.splitlines()[-3:]]
        return " / ".join(dict.fromkeys(" ".join(word.split()) for word in words))[:LONGEST]

    def _managed(self, result: Any) -> dict[str, Any]:
        """What the task manages on the host; ``effects`` is null where that cannot be said."""
        task = result.task
        module, secret, found = task.resolved_action or task.action, bool(task.no_log), result.result
        each: list[dict[str, Any]] | None = []
        for item in [found] if secret else found.get("results", [found]):
            if isinstance(item, dict) and item.get("skipped"):
                continue
            arguments = dict(task.args) if secret else {**_arguments(item), "force": task.args.get("force")}
            known = all("{{" not in str(arguments.get(key, "")) for key in PLACES)
            told = effects_of(module, arguments, secret=secret, copied=_copied(item)) if known else None
            each = None if each is None or told is None else [*each, *told]
        return {"task": task.get_name(), "effects": each}

    @staticmethod
    def _tell(line: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps({"pachon_line": line}) + "\n")
        sys.stdout.flush()


def _arguments(item: dict[str, Any]) -> dict[str, Any]:
    """The arguments as the module was given them; ``copy`` and ``template`` end in another one when nothing changes."""
    given = dict((item.get("invocation") or {}).get("module_args") or {})
    place = item.get("dest") or item.get("path")
    return {**given, **({"dest": place, "path": place} if place else {})}


def _copied(item: dict[str, Any]) -> list[str]:
    """Names below its destination of what was copied, where a whole folder was."""
    source = str(item.get("src") or "")
    if not source or not Path(source).is_dir():
        return []
    above = Path(source) if source.endswith("/") else Path(source).parent
    inside = [path for path in Path(source).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return sorted(str(path.relative_to(above)) for path in inside)
