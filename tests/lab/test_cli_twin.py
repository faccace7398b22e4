"""The command line where the lab cannot be: its twin stands in, and says so."""

import json
from pathlib import Path

import pytest

from infra.lab import instance
from pachon.cli.main import run
from pachon.places import CHECKOUT

EMULATED = str(CHECKOUT / "tests" / "cases" / "cli" / "emulated")


def test_twin_is_built_switched_and_taken_away_and_says_why_it_is_no_lab(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PACHON_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(instance, "missing", lambda: ["the rights of root"])

    def ask(words: str, status: int = 0) -> tuple[dict[str, object], str]:
        got = run(["--facility", EMULATED, "--json", *words.split()])
        printed = capsys.readouterr()
        assert got == status, printed
        return json.loads(printed.out), printed.err

    assert ask("machine power web01", 1)[0]["error"] == "the twin of 't-cli' is down"
    try:
        built, _ = ask("lab up")
        assert (built["kind"], built["lacks"]) == ("twin", ["the rights of root"])
        assert run(["--facility", EMULATED, "lab", "up"]) == 0
        assert "for the real lab this machine lacks: the rights of root" in capsys.readouterr().err
        shown, _ = ask("lab status")
        assert (shown["kind"], shown["up"]) == ("twin", True)
        assert ask("machine power S2 on")[0]["after"] == "on"
        assert ask("machine show web02")[0]["host"] == "web02"
        degraded, _ = ask("status", 4)
        assert degraded["hardware"] == "twin"
        refused, _ = ask("verify", 5)
        assert "no operating systems" in str(refused["error"])
    finally:
        ask("lab down")
    assert ask("lab status", 4)[0]["up"] is False
