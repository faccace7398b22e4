"""``pachon doctor``: what this machine has and lacks, and what to do about it."""

import typer

from pachon.cli.answer import Answer, Table
from pachon.cli.frame import Call, Command, example, verb
from pachon.errors import ExitCode

app = verb()


@app.command(cls=Command, epilog=example("pachon doctor", "pachon doctor --json"))
def doctor(ctx: typer.Context) -> Answer:
    """Say what this machine has and lacks, and the cure for each lack.

    Exit status: 0 everything works, 4 the real lab does not (its twin does), 1 nothing does.
    """
    from infra.toolchain import machine
    from pachon.doctor import findings, lacks

    Call.of(ctx)
    found = findings(machine.observe())
    rows = [("ok" if finding.ok else "LACKS", finding.name, finding.found) for finding in found]
    cures = [f"{finding.name}: {finding.cure}" for finding in found if not finding.ok and finding.cure]
    for_all, for_lab = lacks(found, "all"), lacks(found, "lab")
    if for_all:
        verdict, code = "this machine cannot run pachon yet", ExitCode.FAILED
    elif for_lab:
        verdict, code = "the real lab does not work here; its twin does", ExitCode.DEGRADED
    else:
        verdict, code = "everything works here", ExitCode.DONE
    return Answer(
        value={"verdict": verdict, "findings": found, "lacks": [finding.name for finding in found if not finding.ok]},
        text=[Table(("", "what", "found"), rows, folds=("what", "found")), "", *cures, verdict],
        exit_code=code,
    )
