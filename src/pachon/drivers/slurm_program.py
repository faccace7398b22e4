"""Runs on a site's Slurm controller: carries out orders one by one and tells of the jobs of a user.

Sent over SSH and run as root (``pachon.drivers.slurm``); needs nothing but the standard library and Slurm's clients.
"""

import json
import subprocess
from typing import Any

SECONDS = 20.0
"""How long a client may take; one that finds no controller tries for about ten."""
WANTED = (
    "array_job_id",
    "array_task_id",
    "array_task_string",
    "job_id",
    "job_state",
    "name",
    "nodes",
    "restart_cnt",
    "state_reason",
    "user_name",
)


def main(call: dict[str, Any]) -> dict[str, Any]:
    """What each order printed and, if ``prefix`` is given, the jobs whose names begin so."""
    answer: dict[str, Any] = {"outputs": [_run(order) for order in call["orders"]]}
    if call["prefix"]:
        listed = _run({"argv": ["squeue", "--json"], "user": call["user"], "stdin": ""})
        answer["listing"] = {"status": listed["status"], "stderr": listed["stderr"]}
        if listed["status"] == 0:
            answer["jobs"] = [
                {key: job.get(key) for key in WANTED}
                for job in json.loads(listed["stdout"])["jobs"]
                if str(job.get("name", "")).startswith(call["prefix"])
            ]
    return answer


def _run(order: dict[str, Any]) -> dict[str, Any]:
    try:
        done = subprocess.run(
            order["argv"],
            input=order["stdin"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            user=order["user"],
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "SLURM_BITSTR_LEN": "0"},
        )
    except subprocess.TimeoutExpired:
        return {"status": 124, "stdout": "", "stderr": f"{order['argv'][0]} did not end: Unable to contact slurm"}
    return {"status": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
