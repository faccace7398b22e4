"""``pachon check``: every complaint about a definition, each with path and line."""

from typing import TYPE_CHECKING, Annotated

import typer

from pachon.cli.answer import Answer, facts
from pachon.cli.frame import Call, Command, complete, example, verb
from pachon.errors import ExitCode

if TYPE_CHECKING:
    from pachon.model.facility import Facility

app = verb()


@app.command(
    cls=Command,
    epilog=example("pachon check", "pachon --facility rubin check", "pachon check inventory/facilities/lab"),
)
def check(
    ctx: typer.Context,
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="Folder of a facility, or its name (default: the one of --facility).",
            autocompletion=complete("facility"),
            show_default=False,
        ),
    ] = "",
) -> Answer:
    """Check a definition, and the campaigns beside it, and name everything that is wrong.

    Prints each complaint as 'path:line: what is wrong; what would be right'. Exit status: 0 none, 2 some.
    """
    from pachon.batch.by_default import complaints_about_campaigns
    from pachon.definition import examine, find

    call = Call.of(ctx)
    folder = find(path or call.wanted)
    found = examine(folder)
    complaints = found.complaints
    if found.facility is not None and not complaints:
        complaints = complaints_about_campaigns(folder, found.facility)
    value: dict[str, object] = {"path": str(folder), "complaints": complaints, "warnings": found.warnings}
    warnings = [f"warning: {warning}" for warning in found.warnings]
    if complaints or found.facility is None:
        number = len(complaints)
        return Answer(
            value=value,
            text=[*map(str, complaints), *warnings],
            exit_code=ExitCode.USAGE,
            talk=[f"{number} complaint{'' if number == 1 else 's'}"],
        )
    counts = _counts(found.facility)
    return Answer(
        value={"facility": found.facility.name, **value, **counts},
        text=[facts({"facility": found.facility.name, **counts}), *warnings, "no complaints"],
    )


def _counts(facility: "Facility") -> dict[str, object]:
    return {
        "sites": [site.name for site in facility.sites],
        "enclaves": len(facility.enclaves),
        "machines": len(facility.machines),
        "disks": sum(len(machine.disks) for machine in facility.machines),
        "cables": sum(len(site.cables) for site in facility.sites),
        "hosts": len(facility.hosts),
        "hosts_active": sum(len(site.active_hosts) for site in facility.sites),
        "volumes": sum(len(site.volumes) for site in facility.sites),
    }
