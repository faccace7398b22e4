"""Gives a machine its network at power-on and takes it away at power-off.

The namespace is made anew each time: addresses, rules and sysctls of the last run must not outlive it. At the far end
the port loses and regains its link, as in life: the port of a cable between machines is up only while both run.
"""

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.lab import ip, kernel
from infra.lab.names import CABLE_MTU, LAST_METRIC, floor_port
from infra.lab.spec import MachineSpec, Port

FAULTS_FILE = "machine-faults.json"


def faults(folder: Path) -> Mapping[str, Any]:
    """Faults injected into the machine of this folder: ``pulled`` (names of NICs), ``clock`` (ISO time)."""
    try:
        found: Mapping[str, Any] = json.loads((folder / FAULTS_FILE).read_bytes())
    except FileNotFoundError:
        return {}
    return found


def _other_end(port: Port) -> tuple[str, str]:
    serial, _, nic = port.other.rpartition("/")
    return serial, nic


def _has_link(floor: str, name: str) -> bool:
    with kernel.inside(floor):
        try:
            socket.if_nametoindex(name)
        except OSError:
            return False
    return True


def _pulled(folder: Path, port: Port) -> bool:
    """Whether somebody pulled the cable, at either end."""
    serial, nic = _other_end(port)
    if port.nic in faults(folder).get("pulled", ()):
        return True
    return bool(serial) and nic in faults(folder.parent / serial).get("pulled", ())


def link_lines(folder: Path, spec: MachineSpec, port: Port) -> list[str]:
    """Commands for the floor that bring the ends of this port's cable up, or down where they are to be down."""
    serial, nic = _other_end(port)
    if not port.bridge or _pulled(folder, port):
        return [f"link set {port.link} down"] + ([f"link set {floor_port(serial, nic)} down"] if serial else [])
    if not serial:
        return [f"link set {port.link} up"]
    if not _has_link(spec.floor, floor_port(serial, nic)):
        return []
    return [f"link set {port.link} up", f"link set {floor_port(serial, nic)} up"]


def unplug(spec: MachineSpec) -> None:
    """Take the machine's namespace and the far ends of its NICs away, whatever of it is there."""
    lines: list[str] = []
    for port in spec.ports:
        lines.append(f"link del {port.link}")
        serial, nic = _other_end(port)
        if serial:
            lines.append(f"link set {floor_port(serial, nic)} down")
    if ip.exists(spec.floor):
        ip.batch(lines, namespace=spec.floor, force=True)
    if ip.exists(spec.namespace):
        ip.batch([f"netns del {spec.namespace}"], force=True)


def _new_namespace(spec: MachineSpec) -> None:
    unplug(spec)
    ip.batch([f"netns add {spec.namespace}"])
    ip.batch(
        [f"link set lo alias {spec.mark} up", f"route add unreachable default metric {LAST_METRIC}"],
        namespace=spec.namespace,
    )


def _attach_lines(spec: MachineSpec, port: Port) -> list[str]:
    return [f'link set {port.link} alias "{spec.serial}/{port.nic}" addrgenmode none'] + (
        [f"link set {port.link} master {port.bridge}"] if port.bridge else []
    )


def plug(folder: Path, spec: MachineSpec) -> None:
    """A container machine's NICs exist, named and with their MACs, in a new namespace, and their cables are in.

    Raises:
        PermanentError: the lab's network is not as ``up`` made it.
    """
    _new_namespace(spec)
    ip.batch(
        [
            f"link add {port.link} netns {spec.floor} mtu {CABLE_MTU} type veth "
            f"peer name {port.nic} address {port.mac} netns {spec.namespace}"
            for port in spec.ports
        ]
    )
    connect(folder, spec)


def plug_empty(spec: MachineSpec) -> None:
    """A firmware machine's namespace is there, without NICs: those are taps on the floor, made by its power-on."""
    _new_namespace(spec)


def connect(folder: Path, spec: MachineSpec) -> None:
    """The far ends, which are there, join their bridges."""
    attach = [line for port in spec.ports for line in _attach_lines(spec, port)]
    ip.batch(attach, namespace=spec.floor)
    ip.batch([line for port in spec.ports for line in link_lines(folder, spec, port)], namespace=spec.floor, force=True)
