"""The playbook of one run of Ansible: which roles on which hosts, with or without what images bring."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pachon import hostvars
from pachon.drivers.ansible import Part, Playbook
from pachon.layers.following import RoleWork
from pachon.layers.role_trees import has_host_part
from pachon.model.facility import HostName

SETTLE = "settle"
"""Tag of the tasks that have handlers run which an interrupted play left; each is a task less where none did."""


def book(
    works: Sequence[RoleWork], *, work: Path, variables: Mapping[HostName, dict[str, Any]], host_only: Collection[str]
) -> Playbook:
    """What Ansible is to play, with these ``variables`` of each host and what has to settle.

    ``work``: folder of its settings. ``host_only``: addresses of roles of which only what is the host's own is played.
    """
    hosts_of: dict[tuple[str, bool], list[HostName]] = {}
    settling: dict[HostName, dict[str, bool]] = {}
    for each in works:
        if each.settle and has_host_part(each.role):
            settling.setdefault(each.host, {})[f"{each.role}_settle"] = True
        hosts_of.setdefault((each.role, each.address in host_only), []).append(each.host)
    return Playbook(
        work=work,
        parts=tuple(
            Part(role=role, hosts=tuple(hosts_of[role, host_part]), host_only=host_part)
            for role in hostvars.ROLES
            for host_part in (False, True)
            if (role, host_part) in hosts_of
        ),
        variables={host: {**given, **settling.get(host, {})} for host, given in variables.items()},
        skipped_tags=() if any(each.settle for each in works) else (SETTLE,),
    )
