"""``pachon inventory``: the facility as Ansible's dynamic inventory, always JSON."""

from typing import Annotated

import typer

from pachon.cli.answer import Answer, as_json_text
from pachon.cli.frame import Call, Command, complete, example, verb
from pachon.errors import UsageError

app = verb()


@app.command(cls=Command, epilog=example("pachon inventory --list", "pachon inventory --host base-admin01"))
def inventory(
    ctx: typer.Context,
    everything: Annotated[
        bool, typer.Option("--list", help="Groups, hosts and all their variables (_meta.hostvars).")
    ] = False,
    host: Annotated[
        str, typer.Option(metavar="NAME", help="Variables of one host.", autocompletion=complete("host"))
    ] = "",
) -> Answer:
    """Print Ansible's inventory as JSON, as 'ansible-playbook -i inventory/hosts' reads it."""
    from pachon import inventory as ansible

    call = Call.of(ctx)
    if everything == bool(host):
        raise UsageError("give --list or --host NAME", cure="'pachon inventory --list' prints all of it")
    facility = call.facility()
    value = ansible.variables(facility, call.host(facility, host)) if host else ansible.listing(facility)
    return Answer(value=value, text=[as_json_text(value)])
