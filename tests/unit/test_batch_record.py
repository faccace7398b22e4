"""The record of campaigns in the store, what is read from it, and what is put down at the end."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pachon import definition
from pachon.batch import delivery, picture, reading, watching
from pachon.batch.campaign import Campaign, Quantum
from pachon.batch.markdown import markdown
from pachon.batch.orders import attempts_of
from pachon.batch.products import read
from pachon.batch.running import kept_campaign, report_of
from pachon.drivers import staging_program
from pachon.drivers.staging import Document, Staging
from pachon.errors import PermanentError, RefusedError, UsageError
from pachon.model.campaigns import AttemptState, CampaignRow, Incident, QuantumRecord, QuantumState, SiteNote
from pachon.store import campaigns as kept
from pachon.store.database import Store, open_store
from pachon.store.lease import acquire, hold, release

NOW = datetime(2026, 11, 28, 1, 2, 3, tzinfo=UTC)


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    folder = definition.find("lab")
    return reading.load(reading.find(folder, "first-calibration"), definition.load(folder))


def row_of(campaign: Campaign) -> CampaignRow:
    document = campaign.model_dump(mode="json")
    return CampaignRow(campaign.name, campaign.title, campaign.file, campaign.digest, "running", NOW, None, document)


def product(quantum: Quantum, *, host: str = "w1", data: bytes = b"x") -> dict[str, Any]:
    """What a worker writes beside a product."""
    facts: dict[str, Any] = {}
    if quantum.task.endswith("-statistics"):
        kind = quantum.task.partition("-")[0]
        facts = {"statistics": {"kind": kind, "mean": 1.5, "detector": quantum.data_id["detector"]}}
    file = {"name": f"{quantum.key}.fits", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return {
        "key": quantum.key,
        "task": quantum.task,
        "data_id": quantum.data_id,
        "seed": 1,
        "products": [file],
        "inputs": [],
        "facts": facts,
        "host": host,
        "token": "0a",
        "job_id": 4,
        "task_index": 0,
        "restarts": 0,
        "software": {"numpy": "1.24"},
        "started_at": "2026-11-28T01:02:03+00:00",
        "seconds": 0.5,
    }


def begun(store: Store, campaign: Campaign) -> kept.CampaignRecord:
    lease = acquire(store, kept.lease_name(campaign.name), facility="lab", command="test")
    record = kept.CampaignRecord(store, campaign.name, lease)
    record.begin(row_of(campaign), {quantum.key: quantum.site for quantum in campaign.quanta})
    return record


def test_what_was_intended_is_known_after_a_kill(tmp_path: Path, campaign: Campaign) -> None:
    store = open_store(tmp_path / "store.db")
    record = begun(store, campaign)
    own = campaign.at("base")[:3]
    attempts = attempts_of("0a", "raw", [own])
    record.intend("base", attempts, [QuantumRecord(each.key, QuantumState.SUBMITTED, attempts=1) for each in own])
    store.close()
    store = open_store(tmp_path / "store.db")
    (attempt,) = kept.attempts_of(store, campaign.name, site="base")
    assert (attempt.job_id, attempt.state, attempt.keys) == (None, AttemptState.INTENDED, tuple(q.key for q in own))
    assert kept.quanta_of(store, campaign.name)[own[0].key].state is QuantumState.SUBMITTED
    record = kept.CampaignRecord(store, campaign.name, record._lease)
    record.keep(attempts=[replace(attempt, job_id=4, state=AttemptState.RUNNING, host="w1")])
    assert record.attempts("base")[0].job_id == 4
    record.keep(attempts=[replace(attempt, job_id=4, state=AttemptState.ENDED)])
    assert record.attempts("base") == ()
    assert kept_campaign(store, campaign.name) == campaign
    store.close()


def test_a_writer_that_was_overtaken_writes_nothing(tmp_path: Path, campaign: Campaign) -> None:
    store = open_store(tmp_path / "store.db")
    lease = acquire(store, kept.lease_name(campaign.name), facility="lab", command="test")
    record = kept.CampaignRecord(store, campaign.name, lease)
    record.begin(row_of(campaign), {quantum.key: quantum.site for quantum in campaign.quanta})
    release(store, lease, "done")
    with (
        hold(store, kept.lease_name(campaign.name), facility="lab", command="later"),
        pytest.raises(RefusedError),
    ):
        record.end("done")
    found = kept.campaign_of(store, campaign.name)
    assert found is not None and found.state == "running"
    store.close()


def test_a_changed_campaign_keeps_what_is_known_of_the_quanta_that_stay(tmp_path: Path, campaign: Campaign) -> None:
    store = open_store(tmp_path / "store.db")
    record = begun(store, campaign)
    first, second = campaign.quanta[:2]
    record.keep(quanta=[QuantumRecord(first.key, QuantumState.DONE, product=product(first))])
    record.begin(row_of(campaign), {first.key: first.site, "new": "archive"})
    known = kept.quanta_of(store, campaign.name)
    assert set(known) == {first.key, "new"}
    assert known[first.key].state is QuantumState.DONE
    assert second.key not in known
    assert kept.sites_of_quanta(store, campaign.name) == {first.key: first.site}
    store.close()


def test_what_was_given_up_waits_again_when_it_is_asked_for(tmp_path: Path, campaign: Campaign) -> None:
    store = open_store(tmp_path / "store.db")
    record = begun(store, campaign)
    bad = campaign.quanta[0].key
    record.keep(quanta=[QuantumRecord(bad, QuantumState.FAILED, attempts=3, failures=3, message="no")])
    record.try_again()
    assert kept.quanta_of(store, campaign.name)[bad] == QuantumRecord(bad)
    store.close()


def test_the_report_names_what_is_known_and_who_did_the_work_of_a_dead_worker(
    tmp_path: Path, campaign: Campaign
) -> None:
    store = open_store(tmp_path / "store.db")
    record = begun(store, campaign)
    done = [quantum for quantum in campaign.quanta if quantum.site == "base"]
    record.keep(
        quanta=[QuantumRecord(each.key, QuantumState.DONE, attempts=1, product=product(each)) for each in done],
        incidents=[Incident(NOW, "base", "worker lost", "its work was queued again", "w9", (done[0].key,))],
    )
    record.note(SiteNote("archive", "unknown", NOW, "no SSH answer"))
    record.end("unfinished")
    made = report_of(store, campaign, tmp_path)
    assert not made.complete
    assert {site.site: (site.condition, site.done) for site in made.sites} == {
        "base": ("waiting", len(done)),
        "archive": ("unknown", 0),
    }
    (incident,) = made.incidents
    assert (incident.host, incident.done_by, incident.quanta) == ("w9", ("w1",), (done[0].label,))
    assert {(each.kind, each.detector) for each in made.statistics} == {
        (kind, detector) for kind in ("bias", "flat") for detector in (0, 1)
    }
    provenance = {each.key: each for each in made.provenance}[done[0].key]
    assert (provenance.job, provenance.host, provenance.seed) == ("4_0 0a", "w1", 1)
    delivery.put_report(made, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "report.json").read_text())["state"] == "unfinished"
    text = markdown(made)
    assert "**worker lost** (w9)" in text and "done by w1" in text
    (summary,) = watching.summaries(tmp_path)
    assert {site.site: site.condition for site in summary.sites} == {"base": "waiting", "archive": "unknown"}
    assert (summary.done, summary.state) == (len(done), "unfinished")
    store.close()


def test_nothing_was_run_is_said_with_what_would_be_right(tmp_path: Path) -> None:
    assert watching.summaries(tmp_path) == ()
    store = open_store(tmp_path / "store.db")
    with pytest.raises(UsageError, match="was ever run here; 'pachon campaign run FILE'"):
        kept_campaign(store, "nobody")
    store.close()


class _Local(Staging):
    """The storage host's program on this machine."""

    async def _turn(self, *, names: Any, since_ns: int) -> dict[str, Any]:
        return staging_program.main({**self._call, "names": list(names), "since_ns": since_ns})


async def _nobody() -> Any:
    raise AssertionError("no host is asked here")


def test_records_are_told_of_once_they_are_there_and_damaged_ones_never(tmp_path: Path, campaign: Campaign) -> None:
    import asyncio

    folder = tmp_path / "trial"
    staging = _Local(_nobody, folder=str(tmp_path), campaign="trial")
    assert asyncio.run(staging.news()) == ()
    folder.mkdir()
    first, second, third = campaign.quanta[:3]
    (folder / f"{first.key}.record").write_text(json.dumps(product(first)))
    (folder / f".{second.key}.record.tmp").write_text("half")
    (folder / f"{third.key}.record").write_text(json.dumps(product(second)))
    failed = {"key": second.key, "token": "0a", "host": "w1", "error": "no input"}
    (folder / f"{second.key}.0a.failed").write_text(json.dumps(failed))
    products, failures = read(asyncio.run(staging.news()))
    assert set(products) == {first.key}
    assert failures == {(second.key, "0a"): "w1: no input"}
    assert read([Document("x.record", "[1]"), Document("y.failed", "{")]) == ({}, {})


def test_products_are_fetched_once_and_must_be_what_their_records_say(tmp_path: Path, campaign: Campaign) -> None:
    import asyncio

    quantum = next(each for each in campaign.quanta if each.task == "flat")
    store, out = tmp_path / "trial", tmp_path / "out"
    store.mkdir()
    (store / f"{quantum.key}.fits").write_bytes(b"frame")
    staging = _Local(_nobody, folder=str(tmp_path), campaign="trial")
    known = {quantum.key: QuantumRecord(quantum.key, QuantumState.DONE, product=product(quantum, data=b"frame"))}
    assert asyncio.run(delivery.fetch(campaign, [quantum], known, staging, out)) == 1
    assert (out / "flat-detector-000.fits").read_bytes() == b"frame"
    assert asyncio.run(delivery.fetch(campaign, [quantum], known, staging, out)) == 0
    (out / "flat-detector-000.fits").unlink()
    (store / f"{quantum.key}.fits").write_bytes(b"other")
    with pytest.raises(PermanentError, match="is not what its record says"):
        asyncio.run(delivery.fetch(campaign, [quantum], known, staging, out))


def test_a_picture_of_all_detectors_shows_each_in_its_place() -> None:
    parts = [picture.Picture(2, 2, bytes([shade] * 4)) for shade in (10, 20, 30)]
    whole = picture.read(picture.write(picture.mosaic(parts)))
    assert (whole.width, whole.height) == (16, 16)
    gap, cell = picture.GAP_PIXELS, picture.GAP_PIXELS + 2
    corners = [whole.shades[(gap + row * cell) * 16 + gap + column * cell] for row, column in ((0, 0), (0, 1), (1, 0))]
    assert corners == [10, 20, 30]
    for wrong in (b"", b"GIF89a", picture.SIGNATURE, picture.write(parts[0])[:-20]):
        with pytest.raises(ValueError, match="PNG"):
            picture.read(wrong)
