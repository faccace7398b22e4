"""Writes what a run of plays did to a JSON file, so that nobody has to read its screen output."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: record
type: aggregate
short_description: Write what a run did to a JSON file
description:
  - The file named by PACHON_ANSIBLE_RECORD gets one object with the counts per host, and the tasks that changed
    something or failed. Without that variable nothing is written.
author: Pachon
version_added: "0.1"
"""


class CallbackModule(CallbackBase):
    """Collects results and writes them at the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"
    CALLBACK_NEEDS_ENABLED = False

    def __init__(self) -> None:
        super().__init__()
        self._changed: list[dict[str, str]] = []
        self._failed: list[dict[str, str]] = []

    def v2_runner_on_ok(self, result: Any) -> None:
        """Remember a task that changed something."""
        if result.is_changed():
            self._changed.append(self._task(result))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Remember a task that failed, with its reason."""
        if not ignore_errors:
            self._failed.append({**self._task(result), "reason": str(result.result.get("msg", ""))})

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Remember a host that did not answer."""
        self._failed.append({**self._task(result), "reason": str(result.result.get("msg", ""))})

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Write the record."""
        target = os.environ.get("PACHON_ANSIBLE_RECORD")
        if target:
            hosts = {host: stats.summarize(host) for host in sorted(stats.processed)}
            text = json.dumps({"hosts": hosts, "changed": self._changed, "failed": self._failed}, indent=1)
            Path(target).write_text(text + "\n")

    @staticmethod
    def _task(result: Any) -> dict[str, str]:
        return {"host": result.host.get_name(), "task": result.task.get_name()}
