"""``pachon host``: hosts as the definition has them, and the way into them."""

import asyncio
import os
import shlex
from datetime import timedelta
from typing import Annotated

import typer

from pachon import places
from pachon.cli.answer import Answer, Table, facts
from pachon.cli.frame import Call, Command, complete, example, noun

app = noun("List and show hosts, and log in to them.")

COMMAND_SECONDS = 3600
"""How long a command may run whose output is asked for as JSON."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a host.", autocompletion=complete("host"))]


@app.command("list", cls=Command, epilog=example("pachon host list", "pachon host list --group storage --json"))
def list_(
    ctx: typer.Context,
    group: Annotated[
        str, typer.Option(metavar="GROUP", help="Only hosts in this group.", autocompletion=complete("group"))
    ] = "",
    active: Annotated[bool, typer.Option("--active", help="Only hosts that are to exist now.")] = False,
) -> Answer:
    """List the hosts of the definition: where they are, what they carry, whether they are to exist yet."""
    call = Call.of(ctx)
    hosts = [
        host
        for site in call.sites(call.facility())
        for host in (site.active_hosts if active else site.hosts)
        if not group or group in host.groups
    ]
    rows = [(host.name, host.site, host.enclave, host.machine, host.groups, host.state.value) for host in hosts]
    headings = ("host", "site", "enclave", "machine", "groups", "state")
    return Answer(value=hosts, text=[Table(headings, rows, folds=("enclave", "groups"), empty="no host")])


@app.command(cls=Command, epilog=example("pachon host show base-adm01"))
def show(ctx: typer.Context, name: Name) -> Answer:
    """Show one host: its machine, addresses, storage, and how it is reached."""
    call = Call.of(ctx)
    facility = call.facility()
    host = call.host(facility, name)
    site = facility.site(host.site)
    machine = site.machine_by_serial[host.machine]
    pools = [pool for pool in site.storage_pools if pool.host == host.name]
    volumes = [volume for volume in site.volumes if volume.pool in {pool.name for pool in pools}]
    value: dict[str, object] = {
        "name": host.name,
        "fqdn": f"{host.name}.{facility.domain}",
        "site": host.site,
        "enclave": host.enclave,
        "state": host.state,
        "groups": host.groups,
        "flavour": host.flavour,
        "pool": host.pool,
        "address": host.address,
        "management_address": machine.management_address,
        "machine": machine.serial,
        "rack": f"{machine.rack} unit {machine.unit}",
        "model": f"{machine.vendor} {machine.model}",
        "reached_by": f"pachon host ssh {host.name}",
    }
    rows = [(volume.name, volume.pool, volume.size_gib, volume.mount) for volume in volumes]
    storage = [Table(("volume", "pool", "size_gib", "mount"), rows, folds=("mount",))] if rows else []
    return Answer(value={**value, "storage_pools": pools, "volumes": volumes}, text=[facts(value), *storage])


@app.command(
    cls=Command,
    epilog=example("pachon host ssh base-adm01", "pachon host ssh base-adm01 -- systemctl is-system-running"),
)
def ssh(
    ctx: typer.Context,
    name: Name,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="What to run there, after -- (default: a shell).")
    ] = None,
) -> Answer:
    """Log in to a host as the automation user, trusting only keys that the site has signed.

    Ends with the status of the command; 255 when the host cannot be reached. With --json the command's output is
    part of the answer.
    """
    from pachon.cli.access import refuse_planned, refuse_twin, ssh_config
    from pachon.ground import standing

    call = Call.of(ctx)
    facility = call.facility()
    host = call.host(facility, name)
    refuse_planned(host)
    state = places.state(facility.name)
    words = command or []
    stands = asyncio.run(standing(facility, state))
    if not words:
        refuse_twin(stands, facility)
    address = str(facility.site(host.site).machine_by_serial[host.machine].management_address)
    detour = stands.detours.get(address)
    there = ["-o", f"HostName={detour.host}", "-p", str(detour.port), "-o", f"HostKeyAlias={address}"] if detour else []
    remote = words if len(words) == 1 else [shlex.join(words)] if words else []
    argv = ["ssh", "-F", str(ssh_config(facility, state)), *there, host.name, *remote]
    if not call.as_json:
        os.execvp(argv[0], argv)  # the person's terminal is ssh's from here on
    if not words:
        return Answer(value={"host": host.name, "argv": argv})
    from pachon.drivers.program import run

    output = asyncio.run(run(argv, timeout=timedelta(seconds=COMMAND_SECONDS), check=False))
    value = {
        "host": host.name,
        "command": words,
        "status": output.status,
        "stdout": output.stdout,
        "stderr": output.stderr,
    }
    return Answer(value=value, exit_code=output.status)
