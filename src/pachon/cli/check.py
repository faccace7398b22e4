"""``pachon check``: every complaint about a definition, each with path and line."""

from pathlib import Path
from typing import Annotated

import typer

from pachon.cli.answer import Answer, facts
from pachon.cli.frame import Call, Command, example, verb

app = verb()


@app.command(
    cls=Command,
    epilog=example("pachon check", "pachon --facility rubin check", "pachon check inventory/facilities/lab"),
)
def check(
    ctx: typer.Context,
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help="Folder of a facility (default: the one of --facility).")
    ] = None,
) -> Answer:
    """Check a definition and name everything that is wrong.

    Prints each complaint as 'path:line: what is wrong; what would be right'. Exit status: 0 none, 2 some.
    """
    call = Call.of(ctx)
    if path is not None:
        call.facility_name = str(path) if path.is_absolute() or path.parts[:1] == ("..",) else f"./{path}"
    facility = call.facility()
    hosts = len(facility.hosts)
    summary = {
        "facility": facility.name,
        "sites": [site.name for site in facility.sites],
        "enclaves": len(facility.enclaves),
        "machines": len(facility.machines),
        "disks": sum(len(machine.disks) for machine in facility.machines),
        "cables": sum(len(site.cables) for site in facility.sites),
        "hosts": hosts,
        "hosts_active": sum(len(site.active_hosts) for site in facility.sites),
        "volumes": sum(len(site.volumes) for site in facility.sites),
    }
    shown = {**summary, "hosts": f"{hosts} ({summary['hosts_active']} active)"}
    del shown["hosts_active"]
    return Answer(value={**summary, "complaints": []}, text=[facts(shown), "no complaints"])
