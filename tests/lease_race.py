"""Many processes after one lease: ``python -m tests.lease_race WHERE FOLDER PROCESSES LEASES [KILLS]``.

Who holds the lease also takes the kernel's lock on a file, which goes with its process, and writes a line. A lock that
is taken already is a second holder. So the judge shares nothing with the store. Of the processes, KILLS end by SIGKILL
with their last lease in hand. Prints one line of JSON.
"""

import fcntl
import itertools
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pachon.errors import LeaseHeldError, TemporaryError
from pachon.store.database import Store, open_store
from pachon.store.lease import acquire, release

SITE = "base"


def main(where: str, folder: Path, processes: int, leases: int, kills: int) -> int:
    store = open_store(where)
    release(store, acquire(store, "practice", facility="race", command="once"), "done")
    store.close()
    share = leases // processes
    children = []
    for number in range(processes):
        pid = os.fork()  # cheaper than fifty starts; no connection is open, no thread runs, statements are compiled
        if pid == 0:
            try:
                compete(store, folder, number, share, dies=number < kills)
            except BaseException as error:
                (folder / f"failed-{number}").write_text(f"{type(error).__name__}: {error}")
                os._exit(1)
            os._exit(0)
        children.append(pid)
    statuses = [os.waitpid(pid, 0)[1] for pid in children]
    take(store, folder, "last", -1, lost=lambda _: None)  # from whom was killed last, if nobody came after
    lines = [json.loads(line) for line in (folder / "held").read_text().splitlines()]
    told = [path.read_text() for path in folder.glob("loser-*")]
    tokens = [line["token"] for line in lines]
    found = {
        "leases": len(lines) - 1,
        "by_processes": len({line["process"] for line in lines}) - 1,
        "tokens_grow": all(one < two for one, two in itertools.pairwise(tokens)),
        "double": len(list(folder.glob("double-*"))),
        "failed": [path.read_text() for path in folder.glob("failed-*")],
        "killed": sum(os.WIFSIGNALED(status) for status in statuses),
        "taken_over": sum(bool(line["took_over"]) for line in lines),
        "refusals": sum(int(text.partition(" ")[0]) for text in told),
        "said": max((text.partition(" ")[2] for text in told), key=len),
    }
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def compete(store: Store, folder: Path, number: int, share: int, *, dies: bool) -> None:
    refusals, said = 0, ""

    def lost(error: str) -> None:
        nonlocal refusals, said
        refusals, said = refusals + 1, error

    for turn in range(share):
        last = turn == share - 1
        if last:
            (folder / f"loser-{number}").write_text(f"{refusals} {said}")
        take(store, folder, f"{number}-{turn}", number, lost=lost, dies=dies and last)
    store.close()


def take(store: Store, folder: Path, run: str, number: int, *, lost: Callable[[str], None], dies: bool = False) -> None:
    """Hold the lease for a moment, however long it takes to get it."""
    while True:
        try:
            lease = acquire(store, SITE, facility="race", command=f"racer {number}", run_id=run)
            break
        except LeaseHeldError as error:
            lost(str(error))
            time.sleep(random.uniform(0.1, 0.6))
        except TemporaryError:
            continue  # the database was busy for too long: a loaded machine, no matter here
    with (folder / "lock").open("a") as judge, (folder / "held").open("a") as record:
        try:
            fcntl.flock(judge, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            (folder / f"double-{run}").touch()
        line = {"token": lease.fencing_token, "process": number, "took_over": lease.took_over}
        os.write(record.fileno(), (json.dumps(line) + "\n").encode())
        time.sleep(0.001)  # others are to find it held
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
    while True:
        try:
            return release(store, lease, "done")
        except TemporaryError:
            continue


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), *(int(word) for word in sys.argv[3:6])))
