"""A full ``ansible-playbook --check`` of hosts, as the product plays them, and what it would change there."""

import asyncio
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pachon import hostvars, inventory
from pachon.drivers import program
from pachon.drivers.ansible import Part, settings
from pachon.layers.role_trees import role_trees
from pachon.model.facility import Facility, Host

LONGEST = timedelta(minutes=15)
CALLBACK = Path(__file__).with_name("callback")
PREFIX = '{"item_line": '


@dataclass(frozen=True)
class Found:
    """A task that would change something on a host, or cannot be checked there."""

    host: str
    role: str
    task: str
    state: str
    places: tuple[str, ...]
    """Of the items that would be changed."""
    said: str

    def __str__(self) -> str:
        return f"{self.host}: {self.role}: {self.task}: {self.state} {', '.join(self.places)} {self.said}".rstrip()


async def check(facility: Facility, hosts: Sequence[Host], state: Path, *, work: Path) -> list[Found]:
    """What a check of all roles of these hosts finds; their image parts included.

    A task that fails ends nothing: what it says is one of the findings.
    """
    there = role_trees()
    roles = {role: tuple(each.name for each in hosts if role in hostvars.roles_of(each)) for role in hostvars.ROLES}
    parts = [Part(role=role, hosts=names, host_only=False) for role, names in roles.items() if names and role in there]
    plays = [{**part.as_play, "ignore_errors": True, "ignore_unreachable": True} for part in parts]
    _write(work, plays, {host.name: inventory.told(facility, host, state) for host in hosts})
    variables = {**settings.environment(work), "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACK)}
    argv = [sys.executable, "-m", "ansible", "playbook", "--check", "-i", str(work / "inventory.yml")]
    heard: list[str] = []
    done = await program.run(
        [*argv, str(work / "plays.yml")],
        timeout=LONGEST,
        environment={**variables, "ANSIBLE_STDOUT_CALLBACK": "item_lines"},
        folder=work,
        on_line=heard.append,
        check=False,
    )
    assert done.status in (0, 2, 4), "\n".join(heard[-20:])
    found = [json.loads(line[len(PREFIX) : -1]) for line in heard if line.startswith(PREFIX)]
    return [Found(**{**each, "places": tuple(each["places"])}) for each in found]


def _write(work: Path, plays: Sequence[object], variables: Mapping[str, Mapping[str, object]]) -> None:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700, parents=True)
    hosts = {name: {**settings.CONNECTION, **each} for name, each in variables.items()}
    (work / "inventory.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    (work / "plays.yml").write_text(json.dumps(plays))
    (work / "ansible.cfg").write_text(settings.configuration(work, settings.strategy()))


def check_now(facility: Facility, hosts: Sequence[Host], state: Path, *, work: Path) -> list[Found]:
    """The same, for who does not wait for anything else."""
    return asyncio.run(check(facility, hosts, state, work=work))
