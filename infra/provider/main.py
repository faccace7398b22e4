"""``pulumi-resource-pachon``: what the Pulumi engine starts. PACHON_RUN names the document of its run."""

import asyncio
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pachon.drivers.run_file import VARIABLE, RunFile, read_run_file
from pachon.errors import PachonError, UsageError

if TYPE_CHECKING:
    from infra.provider.context import Context
    from infra.provider.racks import Bmcs
    from pachon.drivers.ssh import Fleet

GARBAGE_OBJECTS = 100_000
"""Objects made before garbage is looked for: a process lives for one operation, and looking was a tenth of its work."""


def context_of(run: RunFile, *, fleet: "Fleet | None" = None, bmcs: "Bmcs | None" = None) -> "Context":
    """A context on the world that the run names; over connections to hosts and BMCs that are somebody else's to close.

    Without them it has its own.
    """
    from infra.provider.context import Context

    if run.world == "folder":
        from infra.provider.folder import FolderWorld

        return Context(run, FolderWorld(Path(run.folder)))
    from infra.provider.racks import RackWorld

    return Context(run, RackWorld(run, fleet=fleet, bmcs=bmcs))


def main() -> None:
    """Serve the engine; exit status 2 when not started by a run of ours."""
    from infra.provider import empty_packages

    gc.set_threshold(GARBAGE_OBJECTS)
    # aiohttp reads all authorities that the machine trusts when it is imported; we trust pinned certificates only.
    os.environ["SSL_CERT_FILE"] = os.environ["SSL_CERT_DIR"] = os.devnull
    empty_packages.enter()
    from infra.provider.server import serve

    try:
        named = os.environ.get(VARIABLE)
        if not named:
            raise UsageError(
                f"pulumi-resource-pachon needs {VARIABLE}, the path of a run's document",
                cure="run 'pachon up', or see stacks/README.md for 'pulumi up' by hand",
            )
        asyncio.run(serve(context_of(read_run_file(Path(named)))))
    except PachonError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
