"""Job files for CI systems: as their makers' schemas want them, the same lines in both, and lines that really work."""

import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from pachon.places import CHECKOUT
from tests.e2e import making
from tests.e2e.rig import Done, rig

JOBS = CHECKOUT / "ci"
GITLAB, GITHUB = JOBS / "gitlab-ci.yml", JOBS / "github-actions.yml"
NAME = "t-jobs"


def read(path: Path) -> dict[str, Any]:
    found = yaml.safe_load(path.read_text())
    assert isinstance(found, dict)
    return found


def gitlab_lines(job: str) -> list[str]:
    """The job's lines, those that are run whatever happened last."""
    found = read(GITLAB)[job]
    return [*found["script"], *found.get("after_script", ())]


def github_lines(job: str) -> list[str]:
    return [step["run"] for step in read(GITHUB)["jobs"][job]["steps"] if "run" in step]


@pytest.mark.parametrize(
    ("path", "schema"), [(GITLAB, "vendor.gitlab-ci"), (GITHUB, "vendor.github-workflows")], ids=["gitlab", "github"]
)
def test_job_file_is_what_its_system_takes(path: Path, schema: str, tmp_path: Path) -> None:
    check = [str(Path(sys.executable).parent / "check-jsonschema"), "--builtin-schema", schema]
    done = subprocess.run([*check, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / path.name
    wrong.write_text(path.read_text().replace("runs-on:", "runs-at:").replace("script:", "scrypt:"))
    assert subprocess.run([*check, str(wrong)], capture_output=True, check=False).returncode == 1


def test_both_files_run_the_same_lines_and_take_the_lab_away_whatever_happened() -> None:
    for job in ("definition", "rehearsal"):
        assert gitlab_lines(job) == github_lines(job)
    assert read(GITLAB)["rehearsal"]["after_script"][-1] == ".venv/bin/pachon down"
    last = [step for step in read(GITHUB)["jobs"]["rehearsal"]["steps"] if "run" in step][-1]
    assert (last["run"], last["if"]) == (".venv/bin/pachon down", "always()")
    kept = read(GITLAB)["rehearsal"]["artifacts"]
    assert (kept["when"], kept["reports"]["junit"]) == ("always", "build/verify.xml")


@pytest.mark.real
@pytest.mark.timeout(900)
def test_lines_of_the_jobs_check_bring_up_verify_and_take_down_a_facility() -> None:
    with rig(NAME) as made:
        making.small(made.definition, name=NAME, network="198.19.164", containers=1)
        junit = CHECKOUT / "build" / "verify.xml"
        junit.unlink(missing_ok=True)
        lines = [*gitlab_lines("definition"), *gitlab_lines("rehearsal")]
        done: dict[str, Done] = {line: made.run(["bash", "-ec", line], status=None) for line in dict.fromkeys(lines)}
        for line, came in done.items():
            assert came.status == 0, f"{line} ended with {came}"
        assert not made.state.exists(), "the lab was left behind"
        suites = ElementTree.parse(junit).getroot()
        assert int(suites.get("tests") or 0) > 10
        assert (suites.get("failures"), suites.get("errors")) == ("0", "0")
