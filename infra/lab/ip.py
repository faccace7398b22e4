"""The ``ip`` program, many commands at a time: one process for a whole floor instead of one per link."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from infra.lab import kernel
from pachon.errors import PermanentError

TIME_LIMIT_SECONDS = 60


def batch(lines: Sequence[str], *, namespace: str = "", force: bool = False) -> None:
    """Carry out the commands in order, in the named namespace or in the machine's own; ``force`` goes on after errors.

    Raises:
        PermanentError: the program refused one (unless forced).
    """
    if not lines:
        return
    argv = ["ip", *(["-n", namespace] if namespace else []), *(["-force"] if force else []), "-batch", "-"]
    done = subprocess.run(
        argv, input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=TIME_LIMIT_SECONDS, check=False
    )
    if done.returncode != 0 and not force:
        raise PermanentError(
            f"network of the lab{f', namespace {namespace}' if namespace else ''}: {done.stderr.strip()}",
            cure="'pachon lab down', then up again; if it stays, see 'pachon doctor'",
        )


def show(*words: str, namespace: str = "") -> list[dict[str, Any]]:
    """What ``ip -j`` lists, such as ``show("link")``; empty where there is no such namespace or nothing to list."""
    argv = ["ip", *(["-n", namespace] if namespace else []), "-j", "-d", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIME_LIMIT_SECONDS, check=False)
    if done.returncode != 0 or not done.stdout.strip():
        return []
    listed: list[dict[str, Any]] = json.loads(done.stdout)
    return listed


def exists(namespace: str) -> bool:
    """Whether a namespace of that name is there."""
    return (kernel.NETNS_FOLDER / namespace).exists()
