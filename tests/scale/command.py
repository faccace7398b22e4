"""The command line as a process for which the twin stands in for all racks, and that says what it cost.

python -m tests.scale.command COST FILES WORDS…     writes COST, a line of JSON, when it ends

FILES is how many files it may have open; 0: as many as the machine allows.
"""

import json
import resource
import sys
import threading
import time
from pathlib import Path

from infra.lab.twin.ground import Twin
from pachon import ground

SAMPLE_SECONDS = 0.1


def main(cost: Path, words: list[str], *, files: int = 0) -> int:
    """The command's exit status."""
    if files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    ground.of = Twin  # before anything else takes it from there
    from pachon.cli.main import run

    most, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_SECONDS):
            most[0] = max(most[0], sum(1 for _ in Path("/proc/self/fd").iterdir()))

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    began = time.monotonic()
    status = run(words)
    over.set()
    watching.join()
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    told = {
        "wall_seconds": round(time.monotonic() - began, 2),
        "cpu_seconds": round(sum(each.ru_utime + each.ru_stime for each in (own, children)), 2),
        "rss_mib": own.ru_maxrss >> 10,
        "most_open_files": most[0],
    }
    cost.write_text(json.dumps(told))
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[3:], files=int(sys.argv[2])))
