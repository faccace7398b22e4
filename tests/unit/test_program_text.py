"""A process whose program text is edited while it runs: what it finds out does not pass for the new text's findings."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pachon import definition, program_text
from pachon.places import CHECKOUT

WORLD = Path(__file__).resolve().parents[1] / "cases" / "definition" / "world"
EARLY = "import pachon.checks, pachon.defined, pachon.definition.loading"
"""What a process has imported before the edit; all else it imports when it needs it."""
LOAD = "print(pachon.defined.load(pathlib.Path(folder)).notes)"
PROCESS = f"import pathlib, sys\n{EARLY}\nprint('begun', flush=True)\nfolder = sys.stdin.readline().strip()\n{LOAD}\n"
EDIT = "\n\ndef check(*all_of_it):\n    return [Note('here', 'by the new text', 'none', severity='warning')]\n"
PATIENCE_SECONDS = 120


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The control layer by itself, to be edited, and a facility of which something stands."""
    shutil.copytree(CHECKOUT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "roles").symlink_to(CHECKOUT / "playbooks" / "roles")
    shutil.copytree(WORLD, tmp_path / "world")
    (tmp_path / "state" / definition.load(facility(tmp_path)).name).mkdir(parents=True)
    return tmp_path


def facility(copy: Path) -> Path:
    return copy / "world" / "facilities" / "small"


@contextmanager
def begun(copy: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has imported a part of the program; a line has it load the facility."""
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "PACHON_STATE": str(copy / "state")}
    with subprocess.Popen(
        [sys.executable, "-P", "-c", PROCESS], env=environment, stdin=-1, stdout=-1, stderr=-1, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n", process.communicate()
        yield process


def notes(copy: Path, process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(f"{facility(copy)}\n", timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, err
    return out


def test_a_process_whose_text_was_edited_keeps_no_facility_as_the_new_text_has_it(copy: Path) -> None:
    with begun(copy) as old:
        checks = copy / "src" / "pachon" / "checks" / "__init__.py"
        checks.write_text(f"{checks.read_text()}{EDIT}")
        assert "by the new text" not in notes(copy, old)
    with begun(copy) as new:
        assert "by the new text" in notes(copy, new)
    (kept,) = (copy / "state").glob("*/definition/plain.json")
    with kept.open() as file:
        assert "by the new text" in str(json.loads(file.readline())["notes"]), "by a process of one text it is kept"


def test_text_is_what_runs_unless_it_was_touched_since_the_process_began(tmp_path: Path) -> None:
    assert program_text.is_what_runs(Path(json.__file__).parent)
    file = tmp_path / "a.py"
    file.touch()
    os.utime(file, (0, 0))
    assert not program_text.is_what_runs(tmp_path), "whatever is said of when it was changed"


def test_a_clock_that_is_set_forward_does_not_make_an_edit_older_than_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program_text.version(tmp_path)
    (tmp_path / "a.py").touch()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert not program_text.is_what_runs(tmp_path)
