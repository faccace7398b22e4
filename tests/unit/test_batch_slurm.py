"""What Slurm's clients say, as types; and what they are asked."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pachon import definition
from pachon.batch import orders, reading
from pachon.batch.expanding import expand
from pachon.batch.packing import pack
from pachon.drivers import slurm_program
from pachon.drivers.slurm import JobState, Slurm, read_accounts, read_tasks, submission
from pachon.errors import RefusedError, TemporaryError


def job(**changed: Any) -> dict[str, Any]:
    """A record as squeue of Slurm 22.05 has it, as far as it is read."""
    return {
        "array_job_id": 7,
        "array_task_id": 2,
        "array_task_string": "",
        "job_id": 9,
        "job_state": "RUNNING",
        "name": "pachon.first.raw.0a1b2c",
        "nodes": "base-batch01",
        "restart_cnt": 0,
        "state_reason": "None",
        **changed,
    }


def test_a_running_task_is_read() -> None:
    (task,) = read_tasks(job())
    assert (task.token, task.index, task.job_id, task.state, task.host) == (
        "0a1b2c",
        2,
        7,
        JobState.RUNNING,
        "base-batch01",
    )
    assert task.address == "7_2"


def test_tasks_that_wait_together_are_read_one_by_one() -> None:
    tasks = read_tasks(job(array_task_id=None, array_task_string="0-2,5%4", job_state="PENDING", nodes=""))
    assert [task.index for task in tasks] == [0, 1, 2, 5]
    assert {task.state for task in tasks} == {JobState.PENDING}


def test_a_job_that_is_no_array_is_passed_over() -> None:
    assert read_tasks(job(array_job_id=0, array_task_id=None)) == ()


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("NODE_FAIL", JobState.TAKEN_AWAY),
        ("COMPLETED", JobState.DONE),
        ("TIMEOUT", JobState.FAILED),
        (["COMPLETING"], JobState.RUNNING),
        ("NEW_IN_A_LATER_SLURM", JobState.RUNNING),
    ],
)
def test_states_are_those_that_anybody_decides_by(word: object, state: JobState) -> None:
    assert read_tasks(job(job_state=word))[0].state is state


def test_accounts_tell_every_run_of_a_task() -> None:
    text = "7_2|pachon.first.raw.0a|NODE_FAIL|w1|12\n7_2|pachon.first.raw.0a|COMPLETED|w2|3\n"
    text += "7_[3-4]|pachon.first.raw.0a|CANCELLED by 0|None assigned|0\n8|other|RUNNING|w1|1\n"
    runs = read_accounts(text)
    assert [(run.index, run.word, run.host) for run in runs] == [
        (2, "NODE_FAIL", "w1"),
        (2, "COMPLETED", "w2"),
        (3, "CANCELLED", ""),
        (4, "CANCELLED", ""),
    ]


def test_an_array_is_asked_for_with_its_token_in_the_name_and_its_orders_in_the_script() -> None:
    facility = definition.load(definition.find("lab"))
    campaign = reading.load(reading.find(definition.find("lab"), "first-calibration"), facility)
    place = campaign.workplaces[0]
    own = expand(campaign.pipeline, campaign.coverage, seed=campaign.seed, order=campaign.order)
    quanta = [quantum for quantum in own if quantum.site == place.site and quantum.step == "combine"]
    (jobs,) = pack(quanta, quanta_per_job=4)
    batch = orders.batch_of(campaign, place, token="0a1b2c", step="combine", jobs=jobs)
    argv = submission(batch)
    assert "--array=0-1" in argv
    assert "--job-name=pachon.first-calibration.combine.0a1b2c" in argv
    assert "--qos=p5" in argv
    head, command, text, tail, _ = batch.script.split("\n")
    assert (head, tail) == ("#!/bin/sh", "ORDERS")
    assert command.endswith("run_quanta.py <<'ORDERS'")
    told = json.loads(text)
    assert [[each["task"] for each in job] for job in told["jobs"]] == [
        ["bias", "flat", "bias-statistics", "flat-statistics"]
    ] * 2
    first = told["jobs"][0]
    assert first[1]["inputs"]["bias"] == [f"{first[0]['key']}.fits"]
    assert len(first[1]["inputs"]["raw-flat"]) == 5
    assert told["store"]["module"] == f"rsync://campaign@{place.storage_address}/campaign/"


class _Answering(Slurm):
    """A Slurm whose controller gives one answer."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self._site = "base"
        self._prefix = "pachon.first."
        self._answer = answer

    async def _turn(self, orders: Any, *, prefix: str = "") -> dict[str, Any]:
        return self._answer


def said(stderr: str) -> dict[str, Any]:
    return {"outputs": [{"status": 1, "stdout": "", "stderr": stderr}]}


async def _submit(answer: dict[str, Any]) -> int:
    from pachon.drivers.slurm import Batch

    return await _Answering(answer).submit(Batch("t", "n", 1, "", "p5", 1, 16, "c"))


def test_a_controller_that_is_away_is_no_refusal() -> None:
    import asyncio

    away = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"
    with pytest.raises(TemporaryError, match="base took no orders"):
        asyncio.run(_submit(said(away)))
    with pytest.raises(RefusedError, match="Invalid qos specification"):
        asyncio.run(_submit(said("sbatch: error: Batch job submission failed: Invalid qos specification")))
    assert asyncio.run(_submit({"outputs": [{"status": 0, "stdout": "12;base\n", "stderr": ""}]})) == 12


def test_the_program_on_the_controller_tells_of_our_jobs_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {"jobs": [job(), job(name="somebody-elses"), job(name="pachon.second.raw.1")]}

    def run(order: dict[str, Any]) -> dict[str, Any]:
        assert order["argv"] == ["squeue", "--json"]
        return {"status": 0, "stdout": json.dumps(listed), "stderr": ""}

    monkeypatch.setattr(slurm_program, "_run", run)
    answer = slurm_program.main({"orders": [], "prefix": "pachon.first.", "user": "campaign"})
    assert [each["name"] for each in answer["jobs"]] == ["pachon.first.raw.0a1b2c"]
    assert answer["listing"]["status"] == 0


def test_a_client_that_hangs_is_ended_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_program, "SECONDS", 0.2)
    hang = {"argv": [sys.executable, "-c", "import time; time.sleep(60)"], "stdin": "", "user": None}
    told = slurm_program._run(hang)
    assert told["status"] == 124
    assert "Unable to contact slurm" in told["stderr"]
