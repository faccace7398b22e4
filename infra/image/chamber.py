"""Runs programs that work on a tree so that nothing of them can be left behind.

They live in mount and process namespaces of their own whose first process dies with us: after a ``kill -9`` of the
bake there is no mount and no process to clean up, only files under the work folder.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from pachon.drivers.program import Line, Output, run
from pachon.errors import PermanentError

FILES = Path(__file__).resolve().parent / "files"
LIMIT = timedelta(minutes=20)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def inside(
    argv: Sequence[str | Path],
    *,
    tree: Path | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    on_line: Line | None = None,
) -> Output:
    """What the program said; ``/proc``, ``/dev``, ``/run`` and ``/tmp`` of ``tree`` are mounted while it runs.

    Blocks: from a coroutine call it through ``asyncio.to_thread``. Of our own environment the program sees only
    ``PATH`` and the proxy settings that apt needs.

    Raises:
        PermanentError: it ended with another status than 0; says its last lines.
    """
    cage = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private")
    first = ("--pid", "--fork", "--kill-child=KILL", "--mount-proc", "sh", str(FILES / "chamber.sh"))
    command = (*cage, *first, str(tree or ""), *(str(word) for word in argv))
    inherited = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    variables = {
        "PATH": PATH,
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "LANG": "C.UTF-8",
        **inherited,
        **(environment or {}),
    }
    done = asyncio.run(run(command, timeout=LIMIT, environment=variables, folder=folder, on_line=on_line, check=False))
    if done.status != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-6:]
        raise PermanentError(
            f"{argv[0]} ended with status {done.status}: " + " / ".join(line[:300] for line in said),
            cure="see that the disk has 2 GiB left and that 'apt-get update' works here, then run again",
        )
    return done
