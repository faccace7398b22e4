"""The programs sent to hosts: the volumes program on real btrfs over loop devices, in a mount namespace of its own."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.provider import programs

SYSTEMCTL = """#!/bin/sh
for unit; do :; done
field() { sed -n "s/^$1=//p" "$UNITS/$unit"; }
case "$*" in
*start*)
    mountpoint -q "$(field Where)" ||
        mount -t "$(field Type)" -o "$(field Options)" "$(field What)" "$(field Where)";;
*stop*) umount "$(field Where)";;
esac
"""

RUNNER = """
import json, sys
space = {}
exec(compile(open(sys.argv[1]).read(), "program", "exec"), space)
space["device"] = lambda disk: disk["name"]
for call in json.load(sys.stdin):
    print(json.dumps(space["main"](call)), flush=True)
    for path in call.get("then_write", []):
        try:
            with open(path, "wb") as file:
                file.write(b"x" * (40 << 20))
                file.flush()
                import os; os.fsync(file.fileno())
        except OSError as error:
            print(json.dumps({"errno": error.errno}), flush=True)
"""


@pytest.mark.parametrize("name", ["addresses", "segments", "stamp", "volumes"])
def test_a_program_stands_alone_when_sent(name: str) -> None:
    text = programs.text(name)
    assert "infra.provider" not in text
    compile(text, name, "exec")
    assert "def main(call" in text


def test_the_stamp_is_read_without_an_import_which_each_look_would_cost_each_host(tmp_path: Path) -> None:
    text = programs.text("stamp").replace("/etc/pachon", str(tmp_path))
    space: dict[str, Any] = {}
    exec(compile(text, "program", "exec"), space)
    assert space["main"]({"fencing_token": 0}) == {"stamp": "", "signature": ""}
    (tmp_path / "stamp.json").write_text("who\n")
    (tmp_path / "stamp.json.sig").write_text("signed\n")
    assert space["main"]({"fencing_token": 0}) == {"stamp": "who\n", "signature": "signed\n"}
    assert not any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(ast.parse(text)))


@pytest.mark.real
def test_a_mirrored_volume_is_made_limited_moved_and_removed_on_real_disks(tmp_path: Path) -> None:
    units, tools = tmp_path / "units", tmp_path / "bin"
    units.mkdir()
    tools.mkdir()
    (tools / "systemctl").write_text(SYSTEMCTL)
    (tools / "systemctl").chmod(0o755)
    text = programs.text("volumes").replace("/etc/systemd/system", str(units))
    program = tmp_path / "program.py"
    program.write_text(text.replace("/var/lib/pachon/fencing-token", str(tmp_path / "token")))
    loops: list[str] = []
    try:
        for name in ("a", "b"):
            with (tmp_path / name).open("wb") as file:
                file.truncate(1 << 30)
            attached = subprocess.run(
                ["losetup", "-f", "--show", str(tmp_path / name)], capture_output=True, text=True, check=True
            )
            loops.append(attached.stdout.strip())
        answers = carry_out(program, tools, units, calls(tmp_path, loops))
    finally:
        for loop in loops:
            subprocess.run(["losetup", "-d", loop], check=False)
    made, smaller, full, refused, stranger, moved, fenced, removed, after = answers
    assert made == {"stamp": "base/volume/x@0123456789ab", "size_bytes": 64 << 20, "mounted": True}
    assert smaller["size_bytes"] == 32 << 20
    assert full == {"errno": 122}
    assert "entries" in refused["refused"]
    assert stranger == {"stamp": ""}
    assert (moved["mounted"], moved["size_bytes"]) == (True, 64 << 20)
    assert "older than 3" in fenced["error"]
    assert (removed, after) == ({"stamp": ""}, {"stamp": "", "mounted": False})


def calls(folder: Path, loops: list[str]) -> list[dict[str, Any]]:
    base = {
        "stamp": "base/volume/x@0123456789ab",
        "volume": "x",
        "pool": "p",
        "disks": [{"name": loop, "serial": loop} for loop in loops],
        "file_system": "btrfs",
        "mirrored": True,
        "size_bytes": 64 << 20,
        "mount": str(folder / "mounted"),
        "fencing_token": 3,
    }
    elsewhere = {"mount": str(folder / "elsewhere")}
    return [
        {**base, "verb": "apply"},
        {**base, "verb": "apply", "size_bytes": 32 << 20, "then_write": [f"{folder}/mounted/data"]},
        {**base, "verb": "remove"},
        {**base, "verb": "remove", "stamp": "base/volume/x@000000000000"},
        {**base, **elsewhere, "verb": "apply", "old_mount": base["mount"]},
        {**base, **elsewhere, "verb": "apply", "fencing_token": 2},
        {**base, **elsewhere, "verb": "remove", "data_too": True},
        {**base, **elsewhere, "verb": "read"},
    ]


def carry_out(program: Path, tools: Path, units: Path, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "UNITS": str(units)}
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", sys.executable, "-c", RUNNER, str(program)],
        input=json.dumps(wanted),
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
