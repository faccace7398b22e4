"""Campaigns on the real Slurm of both sites: products and provenance, and what kills, crashes and cuts do to them.

The oracle is what lies in the sites' stores and what Slurm's own accounting says; it asks the product nothing.
"""

import hashlib
import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pachon.model.facility import Host
from tests.e2e.rig import PACHON, Rig, at, kill
from tests.e2e.shipped import Copy

pytestmark = pytest.mark.real

WAIT_SECONDS = 300.0
"""Until something that must come counts as never coming."""
TEXT = """\
name: {name}
title: A trial
pipeline: calibration
version: 1.0.0
quanta_per_job: {quanta_per_job}
coverage:
  detectors: {detectors}
  sites: [{sites}]
  exposures: {{bias: {bias}, flat: {flat}}}
"""


class Campaigns:
    """Campaigns of one facility, and what is known of them from outside."""

    def __init__(self, copy: Copy) -> None:
        self.copy = copy
        self.rig: Rig = copy.rig

    def write(self, name: str, **settings: object) -> str:
        """A campaign's file."""
        usual = {"bias": "1-3", "flat": "11-13", "detectors": "0-3", "sites": "base, archive", "quanta_per_job": 8}
        path = self.rig.definition / "campaigns" / f"{name}.yaml"
        path.write_text(TEXT.format(name=name, **(usual | settings)))
        return name

    def report(self, name: str) -> Any:
        """Its report."""
        return self.rig.ask("campaign", "report", name)

    def host(self, site: str, group: str) -> Host:
        """The site's first active host of a group."""
        return next(host for host in self.copy.active if host.site == site and group in host.groups)

    def products(self, name: str) -> dict[str, dict[str, str]]:
        """Digest of each file in the store of each site."""
        found: dict[str, dict[str, str]] = {}
        for site in self.copy.facility.sites:
            volume = next(volume for volume in site.volumes if volume.mount == "/srv/campaign")
            pool = next(pool for pool in site.storage_pools if pool.name == volume.pool)
            there = f"cd /srv/campaign/{name} 2>/dev/null || exit 0; sha256sum -- *.fits *.json *.png"
            told = self.rig.ssh(pool.host, f"sudo sh -c {shlex.quote(there)}")
            found[site.name] = {line.split()[1]: line.split()[0] for line in told.splitlines()}
        return found

    def assert_made_once(self, name: str) -> Any:
        """Every product is in exactly one site's store, is what the report says, and nothing else is there."""
        report = self.report(name)
        assert report["state"] == "done", report["incidents"]
        wanted: dict[str, dict[str, str]] = {site.name: {} for site in self.copy.facility.sites}
        for each in report["provenance"]:
            assert each["state"] == "done"
            wanted[each["site"]] |= {file["name"]: file["sha256"] for file in each["products"]}
        assert self.products(name) == wanted
        assert len({each["key"] for each in report["provenance"]}) == len(report["provenance"])
        return report

    def status(self, name: str) -> dict[str, Any]:
        """How each site of it is."""
        told = self.rig.pachon("--json", "campaign", "status", name, status=None)
        return {site["site"]: site for site in told.value["sites"]}


@pytest.fixture(scope="module")
def campaigns(copy: Copy) -> Campaigns:
    return Campaigns(copy)


def wait_until(what: Callable[[], Any], why: str) -> Any:
    """What it answers, once that is something."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.5)
    raise AssertionError(f"never came: {why}")


def test_up_ends_with_a_campaign_whose_products_and_provenance_are_there(campaigns: Campaigns) -> None:
    report = campaigns.assert_made_once("first-calibration")
    assert {site["site"]: site["condition"] for site in report["sites"]} == {"base": "done", "archive": "done"}
    for each in report["provenance"]:
        assert each["image"].startswith("sha256:") and each["software"]["astropy"] and each["host_stamp"], each
        workers = [host.name for host in campaigns.copy.active if "slurm_compute" in host.groups]
        assert each["host"] in workers
    for frame in report["statistics"]:
        level = 1.0 if frame["kind"] == "flat" else 1000.0 + 10 * frame["detector"]
        assert frame["values"]["median"] == pytest.approx(level, rel=0.01)
    assert {(frame["kind"], frame["detector"]) for frame in report["statistics"]} == {
        (kind, detector) for kind in ("bias", "flat") for detector in range(4)
    }
    assert len(report["pictures"]) == 2
    assert all(Path(path).read_bytes().startswith(b"\x89PNG") for path in report["pictures"])
    folder = Path(report["folder"])
    made = {file["name"]: file["sha256"] for each in report["provenance"] for file in each["products"]}
    assert hashlib.sha256((folder / "flat-detector-000.fits").read_bytes()).hexdigest() in made.values()
    assert json.loads((folder / "report.json").read_text())["state"] == "done"


def test_what_is_done_is_not_submitted_again(campaigns: Campaigns) -> None:
    before = campaigns.report("first-calibration")["jobs"]
    again = campaigns.rig.ask("campaign", "run", "first-calibration")
    assert (again["state"], again["jobs"]) == ("done", before)


def test_a_bad_campaign_is_refused_before_anything_runs(campaigns: Campaigns) -> None:
    name = campaigns.write("bad-one")
    path = campaigns.rig.definition / "campaigns" / f"{name}.yaml"
    path.write_text(path.read_text().replace("calibration", "calibratoin"))
    done = campaigns.rig.pachon("campaign", "run", name, status=2)
    assert "there is no pipeline 'calibratoin'; did you mean 'calibration'?" in done.err
    path.unlink()
    assert name not in campaigns.rig.pachon("campaign", "list").out


@pytest.mark.parametrize(
    ("name", "point"),
    [
        ("killed-early", at("campaign", state="moving", says="raw: job")),
        ("killed-late", at("campaign", state="moving", says="combine: job")),
    ],
)
def test_a_campaign_whose_controller_is_killed_goes_on(campaigns: Campaigns, name: str, point: Any) -> None:
    campaigns.write(name)
    campaigns.rig.kill_at(point, argv=[PACHON, "campaign", "run", name])
    assert campaigns.rig.pachon("--json", "campaign", "status", name, status=4).value["state"] == "interrupted"
    campaigns.rig.pachon("campaign", "run", name)
    report = campaigns.assert_made_once(name)
    assert all(each["attempts"] == 1 for each in report["provenance"])


def test_what_slurm_forgets_is_noticed_and_done(campaigns: Campaigns) -> None:
    """Its controller dies right after a submission, before that was saved, and gives the number out again."""
    name = campaigns.write("forgotten")
    controller = campaigns.host("base", "slurm_controller").name
    jobs = f"squeue --noheader --states=all --format=%j | grep -q pachon.{name}"
    script = f"""
        rm -rf /tmp/saved; cp -a /var/lib/slurm/slurmctld /tmp/saved; touch /tmp/ready
        until {jobs}; do sleep 0.05; done
        systemctl kill --signal=KILL slurmctld
        rm -rf /var/lib/slurm/slurmctld; mv /tmp/saved /var/lib/slurm/slurmctld; touch /tmp/struck
    """
    campaigns.rig.ssh(controller, "sudo rm -f /tmp/ready /tmp/struck")
    unit = "sudo systemd-run --quiet --unit=pachon-test-strike sh -c " + shlex.quote(script)
    campaigns.rig.ssh(controller, unit)
    wait_until(
        lambda: "ready" in campaigns.rig.ssh(controller, "ls /tmp"), "the saved state of Slurm's controller was copied"
    )
    campaigns.rig.pachon("campaign", "run", name)
    assert "struck" in campaigns.rig.ssh(controller, "ls /tmp")
    report = campaigns.assert_made_once(name)
    kinds = {incident["kind"] for incident in report["incidents"] if incident["site"] == "base"}
    assert "forgotten" in kinds, report["incidents"]
    numbers = [told.split()[0] for told in report["jobs"]["base"]]
    assert len(numbers) != len(set(numbers)), "the number was not given out again"


def test_the_work_of_a_dead_worker_is_done_by_another_and_the_report_says_so(campaigns: Campaigns) -> None:
    name = campaigns.write(
        "dead-worker", detectors="0-7", sites="archive", bias="1-100", flat="201-300", quanta_per_job=800
    )
    workers = {host.name: host for host in campaigns.copy.active if "slurm_compute" in host.groups}
    running = campaigns.rig.start([PACHON, "--json", "campaign", "run", name, "--patience", "10"])
    try:
        controller = campaigns.host("archive", "slurm_controller").name
        ask = "squeue --noheader --states=running --format='%j %N' | grep pachon." + name
        told = wait_until(lambda: campaigns.rig.ssh(controller, f"{ask} || true").split(), "a worker has work")
        lost = told[1]
        campaigns.rig.pachon("machine", "power", workers[lost].machine, "off", "--force", "--yes")
        out, err = running.communicate(timeout=WAIT_SECONDS * 2)
        assert running.returncode == 0, err
    finally:
        kill(running)
        campaigns.rig.pachon("machine", "power", workers[lost].machine, "on", "--yes")
    assert json.loads(out)["state"] == "done"
    report = campaigns.assert_made_once(name)
    incidents = [each for each in report["incidents"] if each["kind"] == "worker lost" and each["host"] == lost]
    assert incidents, report["incidents"]
    assert all(incident["quanta"] and incident["at"] for incident in incidents)
    done_by = {host for incident in incidents for host in incident["done_by"]}
    assert done_by - {lost}
    assert f"**worker lost** ({lost})" in (Path(report["folder"]) / "report.md").read_text()


def test_a_site_that_is_cut_off_is_unknown_since_then_and_complete_after(campaigns: Campaigns) -> None:
    name = campaigns.write("cut-off", bias="1-40", flat="101-140")
    argv = [PACHON, "--json", "campaign", "run", name, "--patience", "10"]
    running = campaigns.rig.start_until(at("campaign", address="archive/campaign/cut-off", says="raw: job"), argv)
    try:
        campaigns.rig.pachon("lab", "site", "cut", "archive")
        unknown = wait_until(
            lambda: found if (found := campaigns.status(name)["archive"])["condition"] == "unknown" else None,
            "the site that was cut off is unknown",
        )
        wait_until(lambda: campaigns.status(name)["base"]["condition"] == "done", "the other site is complete")
        still = campaigns.status(name)["archive"]
        assert (still["condition"], still["since"]) == ("unknown", unknown["since"])
        campaigns.rig.pachon("lab", "site", "mend", "archive")
        _, err = running.communicate(timeout=WAIT_SECONDS * 2)
        assert running.returncode == 0, err
    finally:
        kill(running)
        campaigns.rig.pachon("lab", "site", "mend", "archive", status=None)
    report = campaigns.assert_made_once(name)
    assert {"unreachable", "back"} <= {each["kind"] for each in report["incidents"] if each["site"] == "archive"}
