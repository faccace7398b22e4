"""The command line on a lab that is really there: up, look, switch, down."""

import json
from pathlib import Path
from typing import Any

import pytest

from pachon.cli.main import run
from pachon.places import CHECKOUT

EMULATED = str(CHECKOUT / "tests" / "cases" / "cli" / "emulated")


class Screen:
    """Runs commands on the small lab and reads what they answer."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.err = ""

    def ask(self, words: str, *, status: int = 0) -> Any:
        got = run(["--facility", EMULATED, "--json", *words.split()])
        printed = self._capsys.readouterr()
        self.err = printed.err
        assert got == status, printed
        return json.loads(printed.out)


@pytest.mark.real
def test_hardware_is_built_looked_at_switched_and_taken_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PACHON_STATE", str(tmp_path / "state"))
    screen = Screen(capsys)
    assert screen.ask("machine power web01", status=1)["error"] == "the lab of 't-cli' is down"
    assert screen.ask("lab status", status=4)["up"] is False
    events = tmp_path / "events.jsonl"
    try:
        assert screen.ask(f"lab up --events {events}")["kind"] == "lab"
        assert "lab        done" in screen.err
        assert [json.loads(line)["state"] for line in events.read_text().splitlines()][-1] == "done"
        assert screen.ask("lab status")["up"] is True
        screen.ask("lab up")
        assert "unchanged" in screen.err

        listed = screen.ask("machine list --power")
        assert {row["serial"]: row["power"] for row in listed} == {"S1": "off", "S2": "off"}
        shown = screen.ask("machine show web01")
        assert all(fact["same"] for fact in shown["differences"])
        assert shown["found"]["disks"][1]["serial"] == "DS1B"

        assert screen.ask("machine power web02 on")["after"] == "on"
        assert screen.ask("machine power S2 status")["after"] == "on"
        refused = screen.ask("machine power web01 off", status=5)
        assert "--yes" in refused["cure"]
        assert screen.ask("machine power web02 off --force") == {
            "machine": "S2",
            "host": None,
            "action": "off",
            "before": "on",
            "after": "off",
        }

        (web01,) = (host for host in screen.ask("status", status=4)["sites"][0]["hosts"] if host["name"] == "web01")
        assert (web01["power"], web01["up"], web01["reason"]) == ("off", False, "its machine is off")
    finally:
        screen.ask("lab down")
    assert screen.ask("lab status", status=4)["up"] is False
