"""Ansible's view of a facility: what a dynamic inventory answers to ``--list``.

Groups are those of the hosts, one for each role that every host has, plus ``site_<site>`` and ``enclave_<enclave>``;
hosts are reached on the management segment, and their variables hold the arguments of their roles.
``inventory/hosts`` runs ``pachon.cli.inventory.main``, which knows what is in force as well.
"""

from collections import defaultdict
from pathlib import Path

from pachon import hostvars
from pachon.model.facility import Facility, Host, HostState, Site

AUTOMATION_USER = "pachon"
"""The account on every host that automation logs in to."""
INTERPRETER = "/usr/bin/python3"

Json = dict[str, object]


def group_of_site(site: str) -> str:
    """Ansible group of a site's hosts."""
    return "site_" + site.replace("-", "_")


def group_of_enclave(enclave: str) -> str:
    """Ansible group of an enclave's hosts."""
    return "enclave_" + enclave.replace("-", "_")


def ansible(
    facility: Facility, *, planned: bool = False, ssh_config: Path | None = None, state: Path | None = None
) -> Json:
    """Groups with their hosts and, under ``_meta``, each host's variables, as ``ansible-inventory`` reads them.

    Hosts that are only planned are left out unless ``planned``. ``ssh_config`` is the file that ``ssh -F`` takes for
    this facility's keys and certificates, ``state`` the folder where roles find their secrets.
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    variables: dict[str, Json] = {}
    shared = _shared(ssh_config, state)
    for site in facility.sites:
        for host in site.hosts:
            if host.state is HostState.PLANNED and not planned:
                continue
            own = (group_of_site(site.name), group_of_enclave(host.enclave))
            for group in (*hostvars.EVERY_HOST, *host.groups, *own):
                groups[group].append(host.name)
            variables[host.name] = {**shared, **_own(facility, site, host)}
    listing: Json = {group: {"hosts": sorted(groups[group])} for group in sorted(groups)}
    listing["all"] = {"children": sorted([*groups, "ungrouped"])}
    listing["_meta"] = {"hostvars": {name: variables[name] for name in sorted(variables)}}
    return listing


def told(facility: Facility, host: Host, state: Path) -> Json:
    """All variables of one host, with what is in the facility's state folder."""
    return {**_shared(_ssh_config(state), state), **_own(facility, facility.site(host.site), host)}


def _shared(ssh_config: Path | None, state: Path | None) -> Json:
    shared: Json = {"ansible_user": AUTOMATION_USER, "ansible_python_interpreter": INTERPRETER}
    if ssh_config is not None:
        shared["ansible_ssh_common_args"] = f"-F {ssh_config}"
    if state is not None:
        shared["pachon_state"] = str(state)
    return shared


def _own(facility: Facility, site: Site, host: Host) -> Json:
    return {
        "ansible_host": str(site.machine_by_serial[host.machine].management_address),
        "pachon_address": str(host.address),
        "pachon_domain": facility.domain,
        "pachon_enclave": host.enclave,
        "pachon_machine": host.machine,
        "pachon_site": site.name,
        **hostvars.of(facility, host),
    }


def _ssh_config(state: Path) -> Path | None:
    path = state / "ssh_config"
    return path if path.is_file() else None


def of_state(facility: Facility, state: Path, *, planned: bool = False) -> Json:
    """The listing with what is in the facility's state folder: how to log in, where secrets are."""
    return ansible(facility, planned=planned, ssh_config=_ssh_config(state), state=state)


def variables_of(listing: Json, host: str) -> Json:
    """Variables of one host in a listing; none for a host that is not in it."""
    meta = listing["_meta"]
    assert isinstance(meta, dict)
    return dict(meta["hostvars"].get(host, {}))
