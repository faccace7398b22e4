"""The frame of the command line: fast help, errors without traces, quiet pipes, completion, help of every command."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup

from pachon import definition
from pachon.cli import main
from pachon.cli.frame import Call
from pachon.errors import PartialError, TemporaryError, UsageError
from pachon.places import CHECKOUT

SMALL = str(CHECKOUT / "tests" / "cases" / "cli" / "small")
HEAVY = {"aiohttp", "ansible", "asyncssh", "paramiko", "pulumi", "pydantic", "rich", "sqlalchemy", "yaml"}


def commands(noun: str) -> Iterator[tuple[str, Any]]:
    """Every command of a noun, and of the nouns within it, with its full name."""
    ahead = [(noun, main.load_command(noun))]
    while ahead:
        name, command = ahead.pop(0)
        if isinstance(command, TyperGroup):
            ahead += [(f"{name} {own}", part) for own, part in command.commands.items()]
        else:
            yield name, command


@pytest.mark.parametrize("noun", main.NOUNS)
def test_every_command_has_json_an_example_and_help_that_says_what_it_does(noun: str) -> None:
    hosts = definition.load(definition.find("lab")).hosts
    known = {name for host in hosts for name in (host.name, host.machine)}
    for name, command in commands(noun):
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--json", "--facility", "--site"} <= options, name
        assert command.help and command.help.splitlines()[0].endswith("."), name
        examples = [line.strip() for line in (command.epilog or "").splitlines() if "pachon" in line]
        assert any(f"pachon {name}" in line or name in line for line in examples), f"{name}: {examples}"
        named = re.findall(r"\b(?:base|archive)-[a-z]+\d+\b|\bL[AB]\d{4}\b", command.epilog)
        assert set(named) <= known, name


def test_help_loads_no_engine() -> None:
    code = "import sys; from pachon.cli.main import run; run(['--help']); print(*sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stderr.split())
    assert "Say what this machine has and lacks." in done.stdout


def test_crash_leaves_a_trace_in_a_file_and_none_on_the_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PACHON_STATE", str(tmp_path))
    (tmp_path / "lab").mkdir()

    def burst(call: Call) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(Call, "facility", burst)
    assert main.run(["host", "list", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["error"] == "unexpected ZeroDivisionError: by nought"
    trace = next((tmp_path / "lab").glob("crash-*.log"))
    assert str(trace) in told["cure"]
    assert "burst" in trace.read_text()
    assert trace.stat().st_mode & 0o077 == 0


def test_interrupt_ends_with_130_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(call: Call) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Call, "facility", interrupt)
    assert main.run(["host", "list"]) == 130
    printed = capsys.readouterr()
    assert printed.err.startswith("interrupted")
    assert len(printed.err.splitlines()) == 1


def test_real_interrupt_of_the_process_shows_no_trace() -> None:
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in whatever runs in the background
        "from pachon.cli import main, frame\n"
        "frame.Call.facility = lambda call: (print('ready', flush=True), signal.pause())\n"
        "sys.argv = ['pachon', 'host', 'list']\n"
        "main.main()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr


def test_reader_that_goes_away_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", "from pachon.cli.main import main; main()", "inventory", "--list", "--planned"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == ""


def test_an_answer_that_cannot_be_written_is_one_line_and_status_1() -> None:
    command = [sys.executable, "-c", "from pachon.cli.main import main; main()", "inventory", "--list", "--planned"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: the answer cannot be written: No space left on device\n"
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    done = subprocess.run(closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("option", ["--facility", "--site"])
def test_an_option_that_was_given_empty_does_not_mean_the_default(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([option, "", "host", "list"]) == 2
    assert main.run(["host", "list", f"{option}="]) == 2
    assert f"{option} is empty" in capsys.readouterr().err


def test_partial_failure_names_each_part_with_its_cure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def partly(call: Call) -> None:
        part = ("base/host/a", TemporaryError("no answer", cure="look at its console"))
        raise PartialError("1 of 2 hosts is not up", failures=[part], cure="run 'pachon up' again")

    monkeypatch.setattr(Call, "facility", partly)
    assert main.run(["host", "list"]) == 6
    assert capsys.readouterr().err == (
        "error: 1 of 2 hosts is not up\n  base/host/a: no answer\n    look at its console\n  run 'pachon up' again\n"
    )
    assert main.run(["host", "list", "--json"]) == 6
    told = json.loads(capsys.readouterr().out)
    assert told["failures"] == [
        {"address": "base/host/a", "error": "no answer", "cure": "look at its console", "exit_code": 1}
    ]


def test_facility_comes_from_the_option_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACHON_FACILITY", "rubin")
    assert Call().wanted == "rubin"
    assert Call(facility_name="lab").wanted == "lab"
    monkeypatch.delenv("PACHON_FACILITY")
    assert Call().wanted == "lab"


def test_machine_is_found_by_its_host_and_a_near_miss_is_named() -> None:
    call = Call(facility_name=SMALL)
    facility = call.facility()
    assert call.machine(facility, "web01")[1].serial == "S1"
    assert call.machine(facility, "S2")[1].serial == "S2"
    with pytest.raises(UsageError, match="did you mean web01"):
        call.machine(facility, "web1")


def completions(words: str, environment: dict[str, str]) -> list[str]:
    typed = ["pachon", *words.split(" ")]
    done = subprocess.run(
        [sys.executable, "-c", "from pachon.cli.main import main; main()"],
        env=environment
        | {"_PACHON_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(typed)}
        | {"COMP_CWORD": str(len(typed) - 1)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split()


def test_shell_completes_commands_and_names_and_keeps_them_until_the_definition_changes(tmp_path: Path) -> None:
    environment = {**os.environ, "PACHON_CACHE": str(tmp_path), "PACHON_FACILITY": SMALL}
    assert completions("ch", environment) == ["check"]
    assert completions("host sh", environment) == ["show"]
    assert completions("host show w", environment) == ["web01", "web02"]
    assert completions("machine power ", environment) == ["S1", "S2"]
    assert completions("status --site ", environment) == ["here"]
    assert "lab" in completions("check ", environment)
    kept = list((tmp_path / "completion").glob("*.json"))
    assert len(kept) == 1
    known = json.loads(kept[0].read_text())
    known["names"]["host"] = ["web09"]
    kept[0].write_text(json.dumps(known))
    assert completions("host show w", environment) == ["web09"]
    known["fingerprint"] = "of an older definition"
    kept[0].write_text(json.dumps(known))
    assert completions("host show w", environment) == ["web01", "web02"]
    broken = {**environment, "PACHON_FACILITY": str(tmp_path / "nowhere")}
    assert completions("host show w", broken) == []
