"""Campaign files: what is wrong with them or with their pipeline is told before anything runs, with path and line."""

import shutil
from pathlib import Path

import pytest

from pachon import definition
from pachon.batch import pipelines, reading
from pachon.batch.by_default import campaign_of
from pachon.batch.pipelines import PIPELINES
from pachon.errors import DefinitionError, UsageError
from pachon.model.facility import Facility

LAB = definition.find("lab")

GOOD = """\
name: trial
title: A trial
pipeline: calibration
version: 1.0.0
coverage:
  detectors: 0-3
  exposures:
    bias: 1-3
    flat: 11,13
"""


@pytest.fixture(scope="module")
def facility() -> Facility:
    return definition.load(LAB)


def complaints(folder: Path, text: str, facility: Facility) -> list[str]:
    path = folder / "trial.yaml"
    path.write_text(text)
    _, found = reading.examine(path, facility)
    return [str(each).removeprefix(f"{folder}/") for each in found]


def test_the_campaigns_that_ship_can_be_carried_out(facility: Facility) -> None:
    assert reading.files(LAB)
    for path in reading.files(LAB):
        campaign = reading.load(path, facility)
        assert campaign.name == path.stem
        assert {share.site for share in campaign.coverage.shares} == {"base", "archive"}
    chosen = campaign_of(LAB, facility)
    assert chosen is not None and chosen.name == "first-calibration"


def test_the_pipelines_that_ship_are_what_their_version_was_released_as() -> None:
    for name in pipelines.known():
        pipeline, found = pipelines.read_pipeline(name)
        assert not found and pipeline is not None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("pipeline: calibration", "pipeline: calibratoin", "trial.yaml:3: there is no pipeline 'calibratoin'; did you"),
        ("version: 1.0.0", "version: 0.9.0", "trial.yaml:4: version 0.9.0 of calibration is not the one that is rel"),
        ("    bias: 1-3", "    dark: 1-3", "trial.yaml:8: the pipeline calibration takes no 'dark' exposures"),
        ("    flat: 11,13", "", "trial.yaml:7: the pipeline calibration needs flat exposures and none are covered"),
        ("detectors: 0-3", "detectors: 3-0", "trial.yaml:6: the range 3-0 goes backwards; write the smaller number"),
        ("detectors: 0-3", "detectors: all", "trial.yaml:6: detectors is 'all'; write numbers and ranges"),
        ("detectors: 0-3", "detectors: 0-3\n  sites: [bsae]", "trial.yaml:7: lab has no site 'bsae'; did you mean"),
        ("detectors: 0-3", "detectors: 0-3\n  pinned: [{site: base, detectors: 7}]", "detector 7 is not among those"),
        ("    bias: 1-3", "    bias: 0-999999", "trial.yaml:5: this comes to 4,000,024 quanta, more than 200,000"),
        (
            "title: A trial",
            "title: A trial\npriority: 10",
            "trial.yaml:3: priority is 10, which is too large; it is at",
        ),
        ("title: A trial", "title: A trial\nqos: p1", "trial.yaml:3: there is no key 'qos' here"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(
    tmp_path: Path, facility: Facility, old: str, new: str, expected: str
) -> None:
    assert complaints(tmp_path, GOOD, facility) == []
    found = complaints(tmp_path, GOOD.replace(old, new), facility)
    assert any(expected in each for each in found), found


def test_a_detector_is_processed_at_one_site_only(tmp_path: Path, facility: Facility) -> None:
    pins = "  pinned: [{site: base, detectors: 0-1}, {site: archive, detectors: 1}]"
    found = complaints(tmp_path, GOOD.replace("  detectors: 0-3", f"  detectors: 0-3\n{pins}"), facility)
    assert any("detector 1 is at base already" in each for each in found), found


def test_a_site_without_workers_is_refused_and_its_lack_named(tmp_path: Path, facility: Facility) -> None:
    sites = tuple(
        site.model_copy(
            update={"hosts": tuple(host for host in site.hosts if "slurm_compute" not in host.groups)}
            if site.name == "archive"
            else {}
        )
        for site in facility.sites
    )
    poorer = facility.model_copy(update={"sites": sites})
    text = GOOD.replace("  detectors: 0-3", "  detectors: 0-3\n  sites: [archive]")
    assert (
        "archive cannot do batch work: no active host in group slurm_compute" in complaints(tmp_path, text, poorer)[0]
    )
    path = tmp_path / "trial.yaml"
    path.write_text(GOOD)
    assert {quantum.site for quantum in reading.load(path, poorer).quanta} == {"base"}


def test_software_that_was_changed_after_its_release_is_refused(tmp_path: Path, facility: Facility) -> None:
    folder = tmp_path / "pipelines"
    shutil.copytree(PIPELINES, folder)
    module = folder / "calibration" / "combine.py"
    module.write_text(module.read_text() + "\n")
    path = tmp_path / "trial.yaml"
    path.write_text(GOOD)
    with pytest.raises(DefinitionError, match="are not those that version"):
        reading.load(path, facility, pipelines=folder)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("needs: [raw-bias]", "needs: [flat]", "the task bias needs 'flat', and no task before it is called so"),
        ("needs: [raw-bias]", "needs: [raw-bais]", "did you mean 'raw-bias'?"),
        ("  - name: flat\n", "  - name: bias\n", "the task 'bias' stands twice"),
        ("    exposures: flat\n", "", "the task raw-flat is done for each exposure, of no kind"),
        ("  - name: flat-statistics\n", "  - name: flat-statistics\n    tier: 1\n", "there is no key 'tier' here"),
    ],
)
def test_bad_pipelines_are_refused(tmp_path: Path, old: str, new: str, expected: str) -> None:
    folder = tmp_path / "pipelines"
    shutil.copytree(PIPELINES, folder)
    path = folder / "calibration.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    pipeline, found = pipelines.read_pipeline("calibration", folder)
    assert pipeline is None
    assert any(expected in str(each) for each in found), [str(each) for each in found]


def test_a_step_cannot_go_on_after_another_has_begun(tmp_path: Path) -> None:
    folder = tmp_path / "pipelines"
    shutil.copytree(PIPELINES, folder)
    path = folder / "calibration.yaml"
    head, _, last = path.read_text().rpartition("step: combine")
    path.write_text(head + "step: raw" + last)
    _, found = pipelines.read_pipeline("calibration", folder)
    assert any("the step raw goes on after combine has begun" in str(each) for each in found)


def test_a_campaign_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="first-calibration"):
        reading.find(LAB, "first-calibratoin")
    assert reading.find(LAB, "first-calibration").is_file()


def test_only_one_campaign_belongs_to_up(tmp_path: Path, facility: Facility) -> None:
    (tmp_path / "campaigns").mkdir()
    for name in ("one", "two"):
        text = GOOD.replace("name: trial", f"name: {name}\nwith_up: true")
        (tmp_path / "campaigns" / f"{name}.yaml").write_text(text)
    with pytest.raises(DefinitionError, match="a second campaign is to be run with 'pachon up'"):
        campaign_of(tmp_path, facility)
