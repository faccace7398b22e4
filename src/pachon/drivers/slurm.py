"""Slurm of one site, spoken to over SSH on its controller: submit, look, lift, account. Few round trips, typed answers.

A job is known by its *token*, which is part of its name: Slurm's numbers are given out again when its controller is
killed soon after a submission (recipe of Slurm 22.05), names are not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from pachon.drivers.ssh import Host
from pachon.errors import PermanentError, RefusedError, TemporaryError

PROGRAM = Path(__file__).with_name("slurm_program.py")
JOB_USER = "campaign"
ROOT = "root"
TURN = timedelta(seconds=45)
LOOK = timedelta(seconds=25)
"""Shorter: a site that was cut off is to be noticed, and nothing is lost by asking again."""
AWAY = (
    "Unable to contact slurm",
    "Socket timed out",
    "Connection refused",
    "Connection timed out",
    "Transport endpoint",
    "temporarily unable",
    "Zero Bytes were transmitted",
    "Unexpected message received",
    "Protocol authentication error",
    "Insane message length",
    "in standby mode",
    "Slurm backup controller",
)
"""What Slurm's clients say when it is not the order that is wrong."""
ACCOUNT_FORMAT = "JobID,JobName%120,State,NodeList,ElapsedRaw"

DRAINED, DOWN = "it is to be taken away", "it was taken away"
"""Reasons by which we know again what we have done to a node."""
NO_REASON = ("", "none", "Not responding")
"""Of a node that nobody holds; the last is Slurm's own, and passes by itself."""
NODE_PAUSES_SECONDS = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Before each try to forget nodes."""


class JobState(StrEnum):
    """What a job is about, as far as anybody decides by it."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    TAKEN_AWAY = "taken away"
    """Ended for no fault of its own: its node died, it was cancelled, or it had to make room."""


STATES = {
    "PENDING": JobState.PENDING,
    "REQUEUED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING,
    "SPECIAL_EXIT": JobState.PENDING,
    "CONFIGURING": JobState.RUNNING,
    "RUNNING": JobState.RUNNING,
    "COMPLETING": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "STAGE_OUT": JobState.RUNNING,
    "STOPPED": JobState.RUNNING,
    "SUSPENDED": JobState.RUNNING,
    "COMPLETED": JobState.DONE,
    "FAILED": JobState.FAILED,
    "OUT_OF_MEMORY": JobState.FAILED,
    "TIMEOUT": JobState.FAILED,
    "DEADLINE": JobState.FAILED,
    "LAUNCH_FAILED": JobState.TAKEN_AWAY,
    "BOOT_FAIL": JobState.TAKEN_AWAY,
    "CANCELLED": JobState.TAKEN_AWAY,
    "NODE_FAIL": JobState.TAKEN_AWAY,
    "PREEMPTED": JobState.TAKEN_AWAY,
    "REVOKED": JobState.TAKEN_AWAY,
}


@dataclass(frozen=True)
class Task:
    """One task of an array as the controller lists it."""

    token: str
    index: int
    job_id: int
    """Of the array."""
    state: JobState
    word: str
    """Slurm's own word for the state."""
    reason: str
    host: str
    restarts: int

    @property
    def address(self) -> str:
        """The task for scontrol: ``<array>_<index>``."""
        return f"{self.job_id}_{self.index}"


@dataclass(frozen=True)
class Accounted:
    """One run of one task as accounting has it; a task that was requeued has several."""

    token: str
    index: int
    job_id: int
    state: JobState
    word: str
    host: str
    seconds: int


@dataclass(frozen=True)
class Batch:
    """An array to be submitted."""

    token: str
    name: str
    """For people; the token is put behind it."""
    tasks: int
    script: str
    qos: str
    walltime_minutes: int
    memory_mib: int
    comment: str


class Slurm:
    """One site's Slurm; ``open_host`` gives an open connection to its controller."""

    def __init__(self, site: str, open_host: Callable[[], Awaitable[Host]], *, prefix: str) -> None:
        self._site = site
        self._open = open_host
        self._prefix = prefix
        """Beginning of the names of all our jobs."""

    async def tasks(self) -> tuple[Task, ...]:
        """All our tasks that the controller knows: waiting, running, and for some minutes the ended ones.

        Raises:
            TemporaryError: host or controller do not answer.
        """
        answer = await self._turn([], prefix=self._prefix)
        self._listing(answer["listing"])
        return tuple(task for job in answer["jobs"] for task in read_tasks(job))

    async def submit(self, batch: Batch) -> int:
        """Number that Slurm gave the array.

        Raises:
            TemporaryError: nobody knows whether it was taken.
            RefusedError: Slurm will not have it as it is.
        """
        order = {"argv": submission(batch), "user": JOB_USER, "stdin": batch.script}
        (done,) = (await self._turn([order]))["outputs"]
        if done["status"] != 0:
            raise self._refusal(f"the job {batch.name}", done["stderr"])
        number, _, _ = str(done["stdout"]).strip().partition(";")
        if not number.isdigit():
            raise PermanentError(f"sbatch at {self._site} answered {done['stdout']!r}", cure="see sbatch there")
        return int(number)

    async def start_now(self, tasks: Sequence[Task]) -> None:
        """Lift the two minutes that Slurm makes a requeued job wait, and a hold that it was requeued with."""
        orders = [["scontrol", "update", f"jobid={task.address}", "StartTime=now"] for task in tasks]
        orders += [["scontrol", "release", task.address] for task in tasks if "held" in task.reason.lower()]
        await self._turn([_as_root(*argv) for argv in orders])

    async def cancel(self, addresses: Sequence[str]) -> None:
        """End tasks or whole arrays; those that are gone already are passed over."""
        if addresses:
            await self._turn([_as_root("scancel", "--quiet", *addresses)])

    async def drain(self, nodes: Sequence[str]) -> None:
        """Have no job begin on these nodes any more; those that somebody else holds stay theirs.

        Raises:
            TemporaryError: host or controller do not answer.
        """
        reasons = _reasons(self._listing((await self._turn([_NODES]))["outputs"][0]))
        words = ["state=drain", f"reason={DRAINED}"]
        free = [name for name in nodes if reasons.get(name, "") in NO_REASON]
        await self._turn([_as_root("scontrol", "update", f"nodename={name}", *words) for name in free])

    async def give_back(self, nodes: Sequence[str]) -> dict[str, str]:
        """Let jobs begin again on those of these nodes on which we had let none; told is where that failed, and why.

        Raises:
            TemporaryError: host or controller do not answer.
        """
        reasons = _reasons(self._listing((await self._turn([_NODES]))["outputs"][0]))
        ours = [name for name in nodes if reasons.get(name) in (DRAINED, DOWN)]
        orders = [_as_root("scontrol", "update", f"nodename={name}", "state=resume") for name in ours]
        outputs = (await self._turn(orders))["outputs"] if orders else []
        done = zip(ours, outputs, strict=True)
        return {name: _last_line(each["stderr"]) for name, each in done if each["status"] != 0}

    async def delete_nodes(self, nodes: Sequence[str]) -> dict[str, str]:
        """Forget these nodes, which introduced themselves and are gone; their jobs begin anew elsewhere.

        Told is which of them are still known, and why.

        Raises:
            TemporaryError: host or controller do not answer.
        """
        reason = f"reason={DOWN}"
        orders = [
            order
            for name in nodes
            for order in (
                _as_root("scontrol", "update", f"nodename={name}", "state=down", reason),
                _as_root("scontrol", "delete", f"nodename={name}"),
            )
        ]
        kept: dict[str, str] = {}
        for seconds in NODE_PAUSES_SECONDS:  # a job that was just ended there keeps a node for a moment
            await asyncio.sleep(seconds)
            *outputs, listing = (await self._turn([*orders, _NODES]))["outputs"]
            known = _reasons(self._listing(listing))
            said = (_last_line(each["stderr"]) for each in outputs[1::2])
            kept = {name: why for name, why in zip(nodes, said, strict=True) if name in known}
            if not kept:
                break
        return kept

    async def accounts(self, job_ids: Sequence[int]) -> tuple[Accounted, ...] | None:
        """Every run of the tasks of these arrays that accounting holds; None where accounting does not answer."""
        if not job_ids:
            return ()
        listed = ",".join(str(number) for number in sorted(set(job_ids)))
        argv = ["sacct", "-X", "-D", "-n", "-P", f"--format={ACCOUNT_FORMAT}", "-j", listed]
        (done,) = (await self._turn([_as_root(*argv)]))["outputs"]
        return read_accounts(done["stdout"]) if done["status"] == 0 else None

    async def _turn(self, orders: Sequence[dict[str, Any]], *, prefix: str = "") -> dict[str, Any]:
        call = {"orders": list(orders), "prefix": prefix, "user": JOB_USER}
        timeout = TURN if orders else LOOK
        return await (await self._open()).run_program(PROGRAM.read_text(), call, timeout=timeout)

    def _listing(self, listing: dict[str, Any]) -> str:
        """What a client of Slurm listed.

        Raises:
            TemporaryError: it did not.
        """
        if listing["status"] != 0:
            raise TemporaryError(
                f"the Slurm controller of {self._site} does not answer: {_last_line(listing['stderr'])}",
                cure="see slurmctld on the site's batch controller",
            )
        return str(listing.get("stdout", ""))

    def _refusal(self, what: str, said: str) -> TemporaryError | RefusedError:
        if any(word in said for word in AWAY):
            return TemporaryError(
                f"the Slurm controller of {self._site} took no orders: {_last_line(said)}", cure="it is tried again"
            )
        return RefusedError(
            f"Slurm at {self._site} refused {what}: {_last_line(said)}",
            cure="see the limits and qualities of service of its accounts (sacctmgr show association)",
        )


def _as_root(*argv: str) -> dict[str, Any]:
    return {"argv": list(argv), "user": ROOT, "stdin": ""}


_NODES = _as_root("sinfo", "-h", "-a", "-N", "-o", "%N|%E")


def _reasons(listing: str) -> dict[str, str]:
    """Why each node is held, as it was said when that began."""
    return {name.strip(): reason.strip() for name, _, reason in (line.partition("|") for line in listing.splitlines())}


def submission(batch: Batch) -> list[str]:
    """The sbatch command of an array whose script comes on standard input."""
    return [
        "sbatch",
        "--parsable",
        f"--array=0-{batch.tasks - 1}",
        f"--job-name={batch.name}.{batch.token}",
        f"--comment={batch.comment}",
        f"--qos={batch.qos}",
        f"--time={batch.walltime_minutes}",
        f"--mem={batch.memory_mib}M",
        "--ntasks=1",
        "--requeue",
        "--export=NONE",
        "--chdir=/tmp",
        "--output=/tmp/pachon-%A_%a.log",
    ]


def read_tasks(job: dict[str, Any]) -> tuple[Task, ...]:
    """The tasks of one record of ``squeue --json``: those that wait together are one record."""
    name, _, token = str(job["name"]).rpartition(".")
    word = _word(job["job_state"])
    indexes = [job["array_task_id"]] if isinstance(job["array_task_id"], int) else []
    if not indexes:
        indexes = _indexes(str(job["array_task_string"] or ""))
    if not name or not indexes:
        return ()
    return tuple(
        Task(
            token=token,
            index=index,
            job_id=int(job["array_job_id"] or job["job_id"]),
            state=_state(word),
            word=word,
            reason=str(job["state_reason"] or ""),
            host=str(job["nodes"] or ""),
            restarts=int(job["restart_cnt"] or 0),
        )
        for index in indexes
    )


def read_accounts(text: str) -> tuple[Accounted, ...]:
    """Runs of array tasks in the output of sacct, oldest first."""
    found = []
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) != 5:
            continue
        array, _, index = fields[0].partition("_")
        if not array.isdigit() or not index.strip("[]"):
            continue
        word = _word(fields[2])
        host = "" if fields[3].startswith("None") else fields[3]
        for number in _indexes(index.strip("[]")):
            found.append(
                Accounted(
                    token=fields[1].rpartition(".")[2],
                    index=number,
                    job_id=int(array),
                    state=_state(word),
                    word=word,
                    host=host,
                    seconds=int(fields[4] or 0),
                )
            )
    return tuple(found)


def _word(state: object) -> str:
    """The state's first word: ``CANCELLED by 0`` is CANCELLED, and later versions give a list."""
    words = state if isinstance(state, list) else str(state).split()
    return str(words[0]) if words else ""


def _state(word: str) -> JobState:
    return STATES.get(word, JobState.RUNNING)


def _indexes(text: str) -> list[int]:
    """Numbers in ``0-3,7%2``."""
    found: list[int] = []
    for part in text.partition("%")[0].split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            found += range(int(first), int(last or first) + 1)
    return found


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
