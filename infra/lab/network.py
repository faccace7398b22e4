"""Makes and unmakes the lasting network of a lab: namespaces, management segments, cables, the controller's link."""

import contextlib
import os
import signal
import subprocess
import time
from ipaddress import IPv4Network
from pathlib import Path

from infra.lab import ip, kernel, names, record, wiring
from pachon.errors import PermanentError, RefusedError
from pachon.model.facility import Facility

_IN_NAMESPACE = {
    "net/bridge/bridge-nf-call-arptables": "0",
    "net/bridge/bridge-nf-call-ip6tables": "0",
    "net/bridge/bridge-nf-call-iptables": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
}
"""Settings of hub and floors. They are per namespace; the machine's own stay as they are."""

_LEAVE_SECONDS = 10.0


def stands(facility: Facility) -> bool:
    """Whether all lasting namespaces and the controller's link are there, finished."""
    links = {link["ifname"] for link in ip.show("link")}
    there = names.controller_link(facility.name) in links and all(map(ip.exists, wiring.namespaces(facility)))
    return there and "UP" in ip.show("link", "show", "lo", namespace=names.wan(facility.name))[0]["flags"]


def refuse_overlap(facility: Facility) -> None:
    """Nothing, if no route of the machine's own meets the facility's prefix.

    Raises:
        RefusedError: there is one: another lab has the prefix, or the machine's own network uses it.
    """
    own = names.controller_link(facility.name)
    for route in ip.show("route"):
        target = str(route.get("dst", "default"))
        if target == "default" or route.get("dev") == own:
            continue
        if IPv4Network(target, strict=False).overlaps(facility.prefix):
            raise RefusedError(
                f"the prefix {facility.prefix} of facility {facility.name} meets the route to {target} "
                f"by {route.get('dev', '?')}",
                cure="take the other lab down ('ip route' shows it), or give this facility another prefix",
            )


def build(facility: Facility, mark: str) -> None:
    """Make the lasting network anew; nothing of it may be there."""
    refuse_overlap(facility)
    with record.changing_namespaces():
        record.note_netns_mount()
        ip.batch(wiring.creation(facility))
    for namespace in wiring.namespaces(facility):
        _set(namespace)
    ip.batch(wiring.hub_lines(facility, mark), namespace=names.hub(facility.name))
    for site in facility.sites:
        floor = names.floor(facility.name, site.name)
        ip.batch(wiring.floor_lines(facility, site, mark), namespace=floor)
        _filter(wiring.nat_rules(facility, site), floor)
    ip.batch(wiring.wan_lines(mark), namespace=names.wan(facility.name))  # the last thing: see stands


def lay_cables(facility: Facility) -> None:
    """The cables between machines are as defined."""
    for site in facility.sites:
        floor = names.floor(facility.name, site.name)
        present = frozenset(str(link["ifname"]) for link in ip.show("link", namespace=floor))
        ip.batch(wiring.cable_lines(site, present), namespace=floor)


def _filter(rules: str, namespace: str) -> None:
    argv = ["nsenter", f"--net={kernel.NETNS_FOLDER / namespace}", "--", "nft", "-f", "-"]
    done = subprocess.run(argv, input=rules, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise PermanentError(
            f"packet filter of the lab, namespace {namespace}: {done.stderr.strip()}", cure="see 'pachon doctor'"
        )


def _set(namespace: str) -> None:
    with kernel.inside(namespace):
        for key, value in _IN_NAMESPACE.items():
            with contextlib.suppress(FileNotFoundError):
                (Path("/proc/sys") / key).write_text(value)


def remove(facility: str, mark: str) -> None:
    """Take away every namespace of the lab and the controller's link, whatever is left of them.

    Processes that live in one of the namespaces (a boot service, a shell) are ended with it.
    """
    found = record.own_namespaces(facility, mark)
    end_inhabitants(found)
    ip.batch([f"netns del {namespace}" for namespace in found], force=True)
    if any(link["ifname"] == names.controller_link(facility) for link in ip.show("link")):
        ip.batch([f"link del {names.controller_link(facility)}"], force=True)
    with record.changing_namespaces():
        record.remove_netns_mount(facility)


def end_inhabitants(namespaces: list[str]) -> None:
    """End every process whose network is one of the namespaces; this process is never among them."""
    wanted = set()
    for namespace in namespaces:
        with contextlib.suppress(OSError):
            wanted.add((kernel.NETNS_FOLDER / namespace).stat().st_ino)
    until = time.monotonic() + _LEAVE_SECONDS
    while (pids := _inhabitants(wanted)) and time.monotonic() < until:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _inhabitants(inodes: set[int]) -> list[int]:
    found: list[int] = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid():
            with contextlib.suppress(OSError):
                if (path / "ns" / "net").stat().st_ino in inodes:
                    found.append(int(path.name))
    return found
