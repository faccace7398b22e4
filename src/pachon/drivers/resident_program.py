"""Runs on a host as long as the channel behind it is open: carries out the programs that it is sent, one by one.

Sent over SSH and run as root (``pachon.drivers.channels``), so that a host that is looked at again and again does not
start a Python for each look. It writes nothing by itself, ends with its channel, and ends when nobody asks for long.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import IO, Any

QUIET_SECONDS = 900
"""It is ended by an alarm when nothing was asked for so long: a channel may be lost without a word."""
LINES_TOLD = 12


def stay(asking: IO[bytes]) -> None:
    """Answer one order after the other.

    An order is a line of JSON: ``program`` names it, ``text`` is its source when it is new here, ``call`` what its
    ``main`` is given (without one: the same as the last time). An answer is a line with its length, then JSON.
    """
    telling = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # what programs start must neither read orders nor write among answers
        os.dup2(nothing, descriptor)
    codes: dict[str, CodeType] = {}
    calls: dict[str, Any] = {}
    signal.alarm(QUIET_SECONDS)
    for line in asking:
        signal.alarm(QUIET_SECONDS)
        order = json.loads(line)
        name = order["program"]
        if "text" in order:
            codes[name] = compile(order["text"], f"<{name}>", "exec")
        if "call" in order:
            calls[name] = order["call"]
        told = json.dumps(answer(codes[name], calls[name])).encode()
        telling.write(b"%d\n%b" % (len(told), told))
        telling.flush()


def answer(code: CodeType, call: Any) -> dict[str, Any]:
    """What the program's ``main`` says to the call, or why it failed, in the words of a program that stands alone."""
    try:
        space: dict[str, Any] = {"__name__": "__program__"}
        exec(code, space)
        return {"answer": space["main"](call)}
    except SystemExit as end:
        return {"failed": str(end)}
    except BaseException:
        return {"failed": "\n".join(traceback.format_exc().strip().splitlines()[-LINES_TOLD:])}


def main() -> None:
    """Stay on the standard input that is left once this text was read from it."""
    stay(sys.stdin.buffer)
