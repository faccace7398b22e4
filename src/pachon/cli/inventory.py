"""``pachon inventory``: the facility as Ansible's dynamic inventory, always JSON; also for ``inventory/hosts``."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer, as_json_text
from pachon.cli.frame import Call, Command, complete, example, verb
from pachon.errors import PachonError, UsageError

app = verb()


@app.command(cls=Command, epilog=example("pachon inventory --list", "pachon inventory --host base-adm01"))
def inventory(
    ctx: typer.Context,
    *,
    everything: Annotated[
        bool, typer.Option("--list", help="Groups, hosts and all their variables (_meta.hostvars).")
    ] = False,
    host: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Variables of one host.", autocompletion=complete("host"), show_default=False
        ),
    ] = "",
    planned: Annotated[bool, typer.Option("--planned", help="Hosts that are only planned as well.")] = False,
) -> Answer:
    """Print Ansible's inventory as JSON, the same that 'ansible-playbook -i inventory/hosts' reads."""
    from pachon.inventory import of_state, variables_of

    call = Call.of(ctx)
    if everything == bool(host):
        raise UsageError("give --list or --host NAME", cure="'pachon inventory --list' prints all of it")
    facility = call.facility()
    value = of_state(facility, places.state(facility.name), planned=planned)
    if host:
        call.host(facility, host)
        value = variables_of(value, host)
    return Answer(value=value, text=[as_json_text(value)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status of the inventory script, which Ansible calls with ``--list`` or ``--host NAME``."""
    from pachon.inventory import of_state, variables_of

    parser = argparse.ArgumentParser(prog="hosts", description="Ansible inventory of the facility in PACHON_FACILITY.")
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--list", action="store_true", help="all groups and hosts")
    wanted.add_argument("--host", metavar="NAME", help="variables of one host")
    try:
        asked = parser.parse_args(arguments)
        facility = Call().facility()
        listing = of_state(facility, places.state(facility.name))
    except PachonError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    answer = listing if asked.host is None else variables_of(listing, asked.host)
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    return 0
