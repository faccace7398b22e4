"""Tells of a check play, item by item, what would be changed: a JSON line for each task of each host."""

from __future__ import annotations

import json
import sys
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: item_lines
type: stdout
short_description: Tell what a check play would change
description:
  - A line for each task that would change something on a host or fails there, with the places of its items.
author: Pachon
version_added: "0.1"
"""

PLACES = ("path", "dest", "name")


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible ships no types
    """Writes lines."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "item_lines"

    def __init__(self) -> None:
        super().__init__()
        self._handlers: set[str] = set()

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Know that its results are a handler's: they follow from another task's."""
        self._handlers.add(task._uuid)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Tell what would be changed."""
        if result.is_changed():
            self._tell(result, "changed")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Tell what cannot even be looked at."""
        self._tell(result, "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Tell that the host is lost."""
        self._tell(result, "unreachable")

    def _tell(self, result: Any, state: str) -> None:
        task = result.task
        if task._uuid in self._handlers:
            return
        found = result.result
        items = [item for item in found.get("results", [found]) if isinstance(item, dict)]
        moved = [item for item in items if item.get("changed") or item.get("failed") or item.get("unreachable")]
        line = {
            "host": result.host.get_name(),
            "role": task._role.get_name() if task._role else "",
            "task": task.get_name().partition(" : ")[2] or task.get_name(),
            "state": state,
            "places": sorted({place for item in moved for place in self._places(item)}),
            "said": " / ".join(str(item.get("msg") or "") for item in moved)[:300],
        }
        sys.stdout.write(json.dumps({"item_line": line}) + "\n")
        sys.stdout.flush()

    @staticmethod
    def _places(item: dict[str, Any]) -> set[str]:
        given = (item.get("invocation") or {}).get("module_args") or {}
        named = [item.get("dest"), item.get("path"), *(given.get(key) for key in PLACES)]
        return {place.rstrip("/") for place in named if isinstance(place, str) and place}
