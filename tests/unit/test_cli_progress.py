"""What people and programs see of work under way."""

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from pachon.cli.progress import Board, Lines, display
from pachon.progress import Event

EVENTS = [
    Event("boot", "", "started", "2 machines"),
    Event("boot", "base/host/a", "started"),
    Event("boot", "base/host/b", "started"),
    Event("boot", "base/host/a", "moving", "writing image", fraction=0.5),
    Event("boot", "base/host/a", "done"),
    Event("boot", "base/host/b", "failed", "no answer\nfrom the BMC"),
    Event("boot", "", "failed", "1 of 2"),
    Event("network", "", "unchanged", "same digest"),
]


def test_lines_tell_beginnings_and_ends_and_why() -> None:
    out = io.StringIO()
    lines = Lines(out, started=0.0)
    for event in EVENTS:
        lines(event)
    told = [line.split("s  ", 1)[1] for line in out.getvalue().splitlines()]
    assert told == [
        "boot       started   2 machines",
        "boot       started   base/host/a",
        "boot       started   base/host/b",
        "boot       done      base/host/a",
        "boot       failed    base/host/b (no answer from the BMC)",
        "boot       failed    1 of 2",
        "network    unchanged same digest",
    ]


def test_events_file_gets_every_event_as_json_with_its_time(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "events.jsonl"
    with display(path) as listener:
        for event in EVENTS:
            listener(event)
    written = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["state"] for line in written] == [event.state for event in EVENTS]
    assert written[3]["fraction"] == 0.5
    assert all(line["at"].endswith("+00:00") for line in written)


def test_board_shows_what_moves_and_what_failed_in_80_columns() -> None:
    board = Board()
    for event in EVENTS[:4]:
        board(event)
    screen = Console(file=io.StringIO(), width=80, force_terminal=False)
    with screen.capture() as captured:
        screen.print(board)
    shown = captured.get()
    assert "writing image" in shown
    assert "50%" in shown
    assert "0/2" in shown
    for event in EVENTS[4:]:
        board(event)
    with screen.capture() as captured:
        screen.print(board)
    shown = captured.get()
    assert "writing image" not in shown
    assert "no answer from the BMC" in shown
    assert "1/2, 1 failed" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_board_counts_what_it_does_not_name() -> None:
    board = Board()
    for number in range(40):
        board(Event("boot", f"base/host/h{number}", "started"))
    screen = Console(file=io.StringIO(), width=80)
    with screen.capture() as captured:
        screen.print(board)
    assert "and 28 more" in captured.get()


def test_terminal_gets_a_live_display_and_stdout_nothing() -> None:
    code = (
        "from pachon.cli.progress import display\n"
        "from pachon.progress import Event\n"
        "with display() as tell:\n"
        "    tell(Event('boot', '', 'started'))\n"
        "    tell(Event('boot', 'base/host/a', 'moving', 'writing', fraction=0.5))\n"
    )
    leader, follower = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        check=True,
    )
    os.close(follower)
    shown = b""
    try:
        while piece := os.read(leader, 65536):
            shown += piece
    except OSError:
        pass  # Linux's way to say that the other end of a terminal is closed
    os.close(leader)
    assert done.stdout == b""
    assert b"boot" in shown
    assert b"writing" in shown
    assert b"\x1b[" in shown
