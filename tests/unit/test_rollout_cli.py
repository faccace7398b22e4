"""``pachon rollout`` over a copy of the shipped definition in which a service has releases, and a world in a file."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pachon.cli import rollout as cli
from pachon.cli.main import run
from pachon.definition import rollouts
from pachon.definition.catalogue import read
from pachon.model.rollout import Canary, HealthGate, QueryGate, SmokeGate
from pachon.places import CHECKOUT
from tests.rollout_stage import keys
from tests.rollout_world import FiledWorld
from tests.rollouts import NEW, OLD

SERVICE = "batch-computing"
RULES = """
strategy: {kind: canary, shares_percent: [5, 100]}
pace: {soak_seconds: 2, check_seconds: 1}
side_by_side: true
waves:
  - {name: base, places: [base], after: [archive]}
  - {name: archive, places: [archive]}
gates:
  - {name: answers, kind: health, probe: scheduler}
  - {name: user, kind: smoke, command: [/usr/bin/true, "{address}"]}
  - {name: errors, kind: query, query: errors, at_most: 0.01}
"""


@pytest.fixture
def facility(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lab, with two releases of a service, and its world in a file."""
    inventory = tmp_path / "inventory"
    shutil.copytree(CHECKOUT / "inventory" / "catalogue", inventory / "catalogue")
    shutil.copytree(CHECKOUT / "inventory" / "facilities" / "lab", inventory / "facilities" / "lab")
    entry = inventory / "catalogue" / SERVICE
    (entry / "releases").mkdir()
    (entry / "rollout.yaml").write_text(RULES)
    for release in (OLD, NEW):
        (entry / "releases" / f"{release.version}.yaml").write_text(
            f"kind: role\nartefacts:\n  - {{name: archive, digest: '{release.artefacts[0].digest}'}}\n"
            f"arguments: {{slurm_controller: {{version: '{release.version}'}}}}\n"
        )
    monkeypatch.setenv("PACHON_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PACHON_FACILITY", str(inventory / "facilities" / "lab"))

    def world(_: Any, __: Any, subject: Any, *___: Any) -> FiledWorld:
        file = tmp_path / "world.json"
        found = FiledWorld(file) if file.exists() else FiledWorld.made(file, subject.places)
        found.bad = (tmp_path / "bad").read_text() if (tmp_path / "bad").exists() else ""
        return found

    monkeypatch.setattr(cli, "WORLDS", {"role": world})
    return inventory / "facilities" / "lab"


def asked(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> Any:
    """The value that the command answers with this exit status."""
    found = run(["--json", "rollout", *words])
    printed = capsys.readouterr()
    assert found == status, printed.out + printed.err
    return json.loads(printed.out or printed.err)


def test_a_rollout_is_planned_carried_out_and_told_of(facility: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = asked(capsys, "plan", SERVICE, NEW.version)
    assert [wave["name"] for wave in made["waves"]] == ["archive", "base"]
    assert run(["rollout", "plan", SERVICE, NEW.version]) == 0
    text = capsys.readouterr().out
    assert "95 % to 1.0.0, 5 % to 1.1.0" in text
    done = asked(capsys, "start", SERVICE, NEW.version, "--why", "CHG-7")
    assert (done["state"], done["why"]) == ("done", "CHG-7")
    assert {(each["place"], each["state"]) for each in done["places"]} == {
        (f"{site}/service/{SERVICE}/offline-production", "proven") for site in ("base", "archive")
    }
    assert asked(capsys, "status", SERVICE) == {**asked(capsys, "status"), "carried_out_by": ""}
    assert run(["rollout", "status"]) == 0
    shown = capsys.readouterr().out
    assert "errors holds: 0, to be at most 0.01" in " ".join(shown.split())
    assert run(["--json", "service", "show", SERVICE]) == 0
    in_force = json.loads(capsys.readouterr().out)["in_force"]
    assert {(each["site"], each["version"]) for each in in_force} == {("archive", NEW.version), ("base", NEW.version)}
    assert {version for each in in_force for version in each["instances"].values()} == {NEW.version}
    assert run(["service", "show", SERVICE]) == 0
    assert "in force" in capsys.readouterr().out
    evidence = asked(capsys, "history", SERVICE)["evidence"]
    assert {"weigh", "watch", "prove"} <= {each["verb"] for each in evidence}
    assert run(["rollout", "history", SERVICE]) == 0
    assert "errors holds: 0, to be at most 0.01" in " ".join(capsys.readouterr().out.split())
    kept = asked(capsys, "history")
    assert [(each["version"], each["outcome"]) for each in kept["rollouts"]] == [(NEW.version, "done")]
    assert {(each["site"], each["version"]) for each in kept["in_force"]} == {
        ("archive", NEW.version),
        ("base", NEW.version),
    }
    assert "is at 1.1.0 already" in asked(capsys, "start", SERVICE, NEW.version, "--why", "again", status=2)["error"]
    told = asked(capsys, "say", SERVICE, "no", "--key", "none", "--why", "clouds", status=5)
    assert "nothing says that the Observatory has a word" in told["error"]
    for word in ("pause", "resume", "abort"):
        assert "has ended: done" in asked(capsys, word, SERVICE, "--why", "late", status=5)["error"]


def test_a_plan_shows_its_next_windows_on_the_clocks_of_all_sites(
    facility: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = facility.parents[1] / "catalogue" / SERVICE / "rollout.yaml"
    every = "days: [mon, tue, wed, thu, fri, sat, sun]"
    rules.write_text(f'{RULES}windows:\n  - {{{every}, opens: "09:00", closes: "17:00", clock: site}}\n')
    made = asked(capsys, "plan", SERVICE, NEW.version)
    assert [each["place"].split("/")[0] for each in made["next_windows"]] == ["archive", "base"]
    for each in made["next_windows"]:
        own = each["place"].split("/")[0]
        assert f"17:00 at {own}" in each["closes"]
        assert all(f"at {site}" in each["opens"] and "UTC" in each["opens"] for site in ("archive", "base"))
    assert run(["rollout", "plan", SERVICE, NEW.version]) == 0
    shown = capsys.readouterr().out
    assert all(f"{each['place']}: opens " in shown for each in made["next_windows"])


def test_a_bad_release_ends_with_6_is_held_and_may_be_lifted(
    facility: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "bad").write_text("smoke")
    back = asked(capsys, "start", SERVICE, NEW.version, "--why", "CHG-8", status=6)
    assert (back["state"], back["wanted_by"]) == ("rolled back", "pachon")
    assert {each["state"] for each in back["places"]} == {"back", "waiting"}
    (tmp_path / "bad").write_text("")
    told = asked(capsys, "plan", SERVICE, NEW.version, status=5)
    assert "is held since" in told["error"] and "pachon rollout lift" in told["cure"]
    assert [each["version"] for each in asked(capsys, "history", SERVICE)["holds"]] == [NEW.version]
    asked(capsys, "lift", SERVICE, NEW.version, "--why", "the test was wrong")
    assert "nothing holds" in asked(capsys, "lift", SERVICE, NEW.version, "--why", "twice", status=5)["error"]
    archive = asked(capsys, "start", SERVICE, NEW.version, "--why", "CHG-9", "--site", "archive")
    assert [each["wave"] for each in archive["places"]] == ["archive"]
    assert asked(capsys, "start", SERVICE, NEW.version, "--why", "CHG-9", "--site", "base")["state"] == "done"


def test_a_word_that_is_not_the_observatorys_is_refused_and_one_that_nobody_can_check_yet_is_kept(
    facility: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, stranger, signers = keys(tmp_path)
    there = facility / signers.name
    signers.rename(there)
    entry = facility.parents[1] / "catalogue" / SERVICE / "service.yaml"
    entry.write_text(entry.read_text().replace("change:\n", "change:\n  observatory_veto: LDM-230\n", 1))
    statuses: list[int] = []

    def say(word: str, key: Path) -> None:
        words = ["rollout", "say", SERVICE, word, "--key", str(key), "--why", "clouds"]
        with ThreadPoolExecutor(1) as aside:  # whoever speaks is another process
            statuses.append(aside.submit(run, words).result())

    def talk(world: FiledWorld) -> None:
        match len(statuses):
            case 0:
                say("yes", stranger)
            case 1:
                there.rename(signers)
                say("no", own)
                signers.rename(there)

    made = cli.WORLDS["role"]

    def world(*given: Any) -> Any:
        found: Any = made(*given)
        found.each_second = talk
        return found

    monkeypatch.setattr(cli, "WORLDS", {"role": world})
    assert run(["--json", "rollout", "start", SERVICE, NEW.version, "--why", "CHG-7"]) == 6
    assert statuses == [5, 0]
    told = capsys.readouterr()
    assert "is signed by nobody in" in told.err
    assert "it waits for the file observatory_signers beside facility.yaml" in told.err
    back = asked(capsys, "status", SERVICE)
    assert (back["state"], back["wanted_why"]) == ("rolled back", "the Observatory says no: clouds")
    late = asked(capsys, "say", SERVICE, "no", "--key", str(own), "--why", "late", status=5)
    assert "has ended: rolled back" in late["error"]


def test_what_was_not_proven_at_the_site_before_is_refused(facility: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = asked(capsys, "plan", SERVICE, NEW.version, "--site", "base", status=5)
    assert "was not proven at archive/offline-production, which comes before" in told["error"]


def test_nothing_is_rolled_out_where_nothing_can_carry_it_out(
    facility: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "WORLDS", {})
    told = asked(capsys, "start", SERVICE, NEW.version, "--why", "CHG-7", status=5)
    assert "nothing here carries out rollouts of what is of kind role yet" in told["error"]


def test_rules_and_releases_are_read_as_written(facility: Path) -> None:
    found = rollouts.read(facility.parents[1] / "catalogue" / SERVICE)
    assert found.complaints == ()
    assert found.rules is not None
    assert found.rules.strategy == Canary(shares_percent=(5, 100))
    assert [type(gate) for gate in found.rules.gates] == [HealthGate, SmokeGate, QueryGate]
    assert set(found.releases) == {OLD.version, NEW.version}


@pytest.mark.parametrize(
    ("file", "before", "after", "told"),
    [
        ("releases/1.1.0.yaml", "digest: 'sha256:", "digest: 'tag:", "releases/1.1.0.yaml:3: "),
        (
            "rollout.yaml",
            "kind: canary, shares_percent: [5, 100]",
            "kind: canary, shares_percent: [9, 5]",
            "do not grow",
        ),
        ("rollout.yaml", "kind: query, query: errors, at_most: 0.01", "kind: query, query: errors", "has no threshold"),
        ("rollout.yaml", "pace: {", "pace: {first_share_percent: 20, ", "rollout.yaml:3: "),
        ("rollout.yaml", "command: [/usr/bin/true", "command: [sleep", "has no absolute path"),
        ("releases/next.yaml", "", "kind: role\n", "a release's file is its version"),
    ],
)
def test_what_is_written_wrong_is_named_with_path_and_line(
    facility: Path, file: str, before: str, after: str, told: str
) -> None:
    path = facility.parents[1] / "catalogue" / SERVICE / file
    text = path.read_text() if path.exists() else ""
    assert before in text
    path.write_text(text.replace(before, after) if before else after)
    said = [str(each) for each in read(facility.parents[1] / "catalogue").complaints]
    assert len(said) == 1
    assert told in said[0]
    assert f"{SERVICE}/{file}:" in said[0]
