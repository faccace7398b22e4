"""The orders of an array, as its script carries them to the workers. Pure."""

import json
from collections.abc import Sequence
from typing import Any

from pachon.batch.campaign import Campaign, Key, Quantum, Workplace
from pachon.batch.packing import Job
from pachon.drivers.slurm import Batch
from pachon.model.campaigns import Attempt

RUNNER = "/usr/lib/pachon/pipelines/run_quanta.py"
PASSWORD_FILE = "/etc/pachon/campaign.rsync"
MODULE = "campaign"
RSYNC_USER = "campaign"
MOST_COMMENT = 200


def name_prefix(campaign: str) -> str:
    """How the names of a campaign's jobs begin."""
    return f"pachon.{campaign}."


def attempts_of(token: str, step: str, jobs: Sequence[Job]) -> tuple[Attempt, ...]:
    """The attempts that an array is: one for each of its jobs."""
    return tuple(
        Attempt(token=token, index=index, step=step, keys=tuple(quantum.key for quantum in job))
        for index, job in enumerate(jobs)
    )


def batch_of(campaign: Campaign, place: Workplace, *, token: str, step: str, jobs: Sequence[Job]) -> Batch:
    """The array as Slurm is asked for it."""
    by_key = by_key_of(campaign)
    orders = {
        "token": token,
        "pipeline": {
            "name": campaign.pipeline.name,
            "version": campaign.pipeline.version,
            "software": campaign.pipeline.software,
        },
        "store": {
            "module": f"rsync://{RSYNC_USER}@{place.storage_address}/{MODULE}/",
            "campaign": campaign.name,
            "password_file": PASSWORD_FILE,
        },
        "jobs": [[_order(campaign, quantum, by_key) for quantum in job] for job in jobs],
    }
    return Batch(
        token=token,
        name=f"{name_prefix(campaign.name)}{step}",
        tasks=len(jobs),
        script=script(orders),
        qos=f"p{campaign.priority}",
        walltime_minutes=campaign.pipeline.walltime_minutes,
        memory_mib=campaign.pipeline.memory_mib,
        comment=f"pachon campaign {campaign.name} of {campaign.facility}, {step}, {token}"[:MOST_COMMENT],
    )


def by_key_of(campaign: Campaign) -> dict[Key, Quantum]:
    """A campaign's quanta by key."""
    return {quantum.key: quantum for quantum in campaign.quanta}


def _order(campaign: Campaign, quantum: Quantum, by_key: dict[Key, Quantum]) -> dict[str, Any]:
    task = campaign.pipeline.task_by_name[quantum.task]
    read = {
        name: [f"{key}.{campaign.pipeline.task_by_name[by_key[key].task].products[0]}" for key in keys]
        for name, keys in quantum.inputs.items()
    }
    return {
        "key": quantum.key,
        "task": quantum.task,
        "call": task.call,
        "data_id": quantum.data_id,
        "seed": campaign.seed,
        "settings": task.settings,
        "inputs": read,
        "products": list(task.products),
    }


def script(orders: dict[str, Any]) -> str:
    """The batch script: it hands the orders to what runs them. JSON of one line cannot end the text early."""
    text = json.dumps(orders, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    return f"#!/bin/sh\nexec /usr/bin/python3 -I {RUNNER} <<'ORDERS'\n{text}\nORDERS\n"
