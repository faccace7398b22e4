"""The command line where the lab cannot be: its twin stands in, and says so."""

import json
import shutil
from pathlib import Path

import pytest

from infra.lab import instance
from pachon.cli.main import run
from pachon.places import CHECKOUT

EMULATED = CHECKOUT / "tests" / "cases" / "cli" / "emulated"


def test_twin_is_built_switched_and_taken_away_and_says_why_it_is_no_lab(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PACHON_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(instance, "missing", lambda: ["the rights of root"])

    definition = shutil.copytree(EMULATED, tmp_path / "definition")

    def ask(words: str, status: int = 0) -> tuple[dict[str, object], str]:
        got = run(["--facility", str(definition), "--json", *words.split()])
        printed = capsys.readouterr()
        assert got == status, printed
        return json.loads(printed.out), printed.err

    assert ask("machine power web01", 1)[0]["error"] == "the twin of 't-cli' is down"
    try:
        built, _ = ask("lab up")
        assert (built["kind"], built["lacks"]) == ("twin", ["the rights of root"])
        assert run(["--facility", str(definition), "lab", "up"]) == 0
        assert "for the real lab this machine lacks: the rights of root" in capsys.readouterr().err
        shown, _ = ask("lab status")
        assert (shown["kind"], shown["up"]) == ("twin", True)
        assert ask("machine power S2 on")[0]["after"] == "on"
        assert ask("machine show web02")[0]["host"] == "web02"
        degraded, _ = ask("status", 4)
        assert degraded["hardware"] == "twin"
        refused, _ = ask("verify", 5)
        assert "no operating systems" in str(refused["error"])
        # With a mistake in its definition it is still shown, and taken down by its name.
        site = definition / "sites" / "here" / "site.yaml"
        site.write_text(site.read_text() + "nonsense: true\n")
        assert "nonsense" in str(ask("check", 2)[0])
        shown, _ = ask("lab status")
        assert (shown["facility"], shown["up"]) == ("t-cli", True)
        assert "complaint" in str(shown["definition"])
    finally:
        assert ask("down")[0] == {"facility": "t-cli", "was_up": True}
    assert not (tmp_path / "state" / "t-cli").exists()
    assert ask("down", 2)[0]["exit_code"] == 2
