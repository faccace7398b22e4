"""From quanta that can be carried out to jobs: array tasks with a few quanta each. Pure."""

from collections.abc import Sequence

from pachon.batch.campaign import Key, Quantum

QUANTA_PER_ARRAY = 4000
"""An array's orders travel in its script, and Slurm takes scripts of up to 4 MiB."""
Job = tuple[Quantum, ...]


def pack(quanta: Sequence[Quantum], *, quanta_per_job: int) -> tuple[tuple[Job, ...], ...]:
    """Arrays of jobs, in the order of the quanta.

    Quanta that depend on one another are in one job, however many they are; apart from that no job has more than
    ``quanta_per_job``.
    """
    jobs: list[list[Quantum]] = []
    for cluster in clusters(quanta):
        if jobs and len(jobs[-1]) + len(cluster) <= quanta_per_job:
            jobs[-1] += cluster
        else:
            jobs.append(list(cluster))
    arrays: list[list[Job]] = []
    packed = 0
    for job in jobs:
        if not arrays or packed + len(job) > QUANTA_PER_ARRAY:
            arrays.append([])
            packed = 0
        arrays[-1].append(tuple(job))
        packed += len(job)
    return tuple(tuple(array) for array in arrays)


def clusters(quanta: Sequence[Quantum]) -> list[list[Quantum]]:
    """The quanta parted into those that depend on one another; in a part each stands behind what it needs."""
    leader: dict[Key, Key] = {quantum.key: quantum.key for quantum in quanta}

    def find(key: Key) -> Key:
        while leader[key] != key:
            leader[key] = leader[leader[key]]
            key = leader[key]
        return key

    for quantum in quanta:
        for needed in quantum.needed:
            if needed in leader:
                leader[find(quantum.key)] = find(needed)
    parts: dict[Key, list[Quantum]] = {}
    for quantum in quanta:
        parts.setdefault(find(quantum.key), []).append(quantum)
    return [_in_order(part) for part in parts.values()]


def _in_order(part: Sequence[Quantum]) -> list[Quantum]:
    by_key = {quantum.key: quantum for quantum in part}
    placed: dict[Key, Quantum] = {}

    def place(quantum: Quantum) -> None:
        if quantum.key in placed:
            return
        for key in quantum.needed:
            if key in by_key:
                place(by_key[key])
        placed[quantum.key] = quantum

    for quantum in part:
        place(quantum)
    return list(placed.values())
