"""The resources of one BMC as Redfish documents: a pure function from a path to a JSON object.

Types and property names are those of DMTF's schema bundle (DSP8010).
"""

import hashlib
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.lab.bmc.hardware import BmcSettings, Facts, PowerState
from pachon.model.facility import Machine

Document = dict[str, Any]
ROOT = "/redfish/v1"
OK = {"State": "Enabled", "Health": "OK"}
RESET_TYPES = ("On", "ForceOff", "GracefulShutdown", "ForceRestart", "GracefulRestart", "PowerCycle")
BOOT_TARGETS = ("None", "Hdd", "UefiHttp", "Cd")
BOOT_ENABLED = ("Disabled", "Once", "Continuous")
MANAGER = "bmc"
SESSION_SECONDS = 1800
MAX_LEVELS = 3


@dataclass(frozen=True)
class View:
    """What one BMC knows when it answers."""

    facts: Facts
    settings: BmcSettings
    power: PowerState
    serial: str
    """The serial that it reports: the machine's, unless it lies."""
    sessions: tuple[tuple[str, str], ...] = ()
    """(id, user) of open sessions."""


def etag(document: Document) -> str:
    """Entity tag of a document: changes with its content."""
    text = json.dumps(document, sort_keys=True).encode()
    return f'"{hashlib.sha256(text).hexdigest()[:16]}"'


def link(path: str) -> Document:
    """A reference to a resource."""
    return {"@odata.id": path}


def document(view: View, path: str) -> Document | None:
    """The resource at a path without trailing slash, or None where there is none."""
    if path == "/redfish":
        return {"v1": f"{ROOT}/"}
    if path == ROOT:
        return _root(view)
    first, *rest = path.removeprefix(f"{ROOT}/").split("/")
    rooms = {
        "Chassis": _chassis_part,
        "Managers": _manager_part,
        "SessionService": _session_part,
        "Systems": _system_part,
        "TaskService": _task_part,
    }
    if not path.startswith(f"{ROOT}/") or first not in {*rooms, "odata"}:
        return None
    return rooms[first](view, path, rest) if first in rooms else _odata()


def expand(view: View, found: Document, *, levels: int, links: bool) -> Document:
    """The document with references to what lies below it replaced by the resources (``$expand``)."""

    def walk(value: Any, own: str) -> Any:
        if isinstance(value, list):
            return [walk(item, own) for item in value]
        if not isinstance(value, dict):
            return value
        target = value.get("@odata.id")
        if len(value) == 1 and isinstance(target, str):
            inner = document(view, target) if links or target.startswith(f"{own}/") else None
            if inner is None:
                return value
            return expand(view, inner, levels=levels - 1, links=False) if levels > 1 else inner
        return {key: item if key == "Links" and not links else walk(item, own) for key, item in value.items()}

    own = str(found["@odata.id"])
    return {key: item if key == "Links" and not links else walk(item, own) for key, item in found.items()}


def expand_levels(query: str) -> int | None:
    """How deep ``$expand=<query>`` goes; None where the query is not understood."""
    match = re.fullmatch(r"[.*](?:\(\$levels=([1-9])\))?", query)
    return None if match is None else min(int(match[1] or 1), MAX_LEVELS)


def _resource(path: str, kind: str, name: str) -> Document:
    identity = path.rsplit("/", 1)[-1]
    return {"@odata.id": path, "@odata.type": f"#{kind}", "Id": identity, "Name": name}


def _collection(path: str, kind: str, members: list[str]) -> Document:
    return {
        "@odata.id": path,
        "@odata.type": f"#{kind}Collection.{kind}Collection",
        "Name": f"{kind} Collection",
        "Members@odata.count": len(members),
        "Members": [link(f"{path}/{member}") for member in members],
    }


def _root(view: View) -> Document:
    return {
        "@odata.id": f"{ROOT}/",
        "@odata.type": "#ServiceRoot.v1_16_0.ServiceRoot",
        "Id": "RootService",
        "Name": "Root Service",
        "RedfishVersion": "1.18.0",
        "UUID": str(uuid.uuid5(uuid.UUID(view.facts.uuid), "service")),
        "Vendor": view.facts.machine.vendor,
        "ProtocolFeaturesSupported": {
            "ExpandQuery": {
                "ExpandAll": True,
                "Levels": True,
                "Links": False,
                "NoLinks": True,
                "MaxLevels": MAX_LEVELS,
            },
            "FilterQuery": False,
            "OnlyMemberQuery": False,
            "SelectQuery": False,
        },
        "Systems": link(f"{ROOT}/Systems"),
        "Chassis": link(f"{ROOT}/Chassis"),
        "Managers": link(f"{ROOT}/Managers"),
        "Tasks": link(f"{ROOT}/TaskService"),
        "SessionService": link(f"{ROOT}/SessionService"),
        "Links": {"Sessions": link(f"{ROOT}/SessionService/Sessions")},
    }


def _odata() -> Document:
    names = ("Systems", "Chassis", "Managers", "SessionService")
    sets = [{"name": name, "kind": "Singleton", "url": f"{ROOT}/{name}"} for name in names]
    service = {"name": "Service", "kind": "Singleton", "url": f"{ROOT}/"}
    return {"@odata.context": f"{ROOT}/$metadata", "value": [service, *sets]}


def _system(view: View, path: str) -> Document:
    machine, settings = view.facts.machine, view.settings
    return _resource(path, "ComputerSystem.v1_20_0.ComputerSystem", machine.serial) | {
        "SystemType": "Physical",
        "SerialNumber": view.serial,
        "UUID": view.facts.uuid,
        "Manufacturer": machine.vendor,
        "Model": machine.model,
        "AssetTag": settings.asset_tag,
        "BiosVersion": view.facts.bios_version,
        "PowerState": view.power.value,
        "Status": {"State": "Enabled" if view.power is PowerState.ON else "StandbyOffline", "Health": "OK"},
        "Boot": {
            "BootSourceOverrideEnabled": settings.boot_override.value,
            "BootSourceOverrideEnabled@Redfish.AllowableValues": list(BOOT_ENABLED),
            "BootSourceOverrideTarget": settings.boot_source.value,
            "BootSourceOverrideTarget@Redfish.AllowableValues": list(BOOT_TARGETS),
            "BootSourceOverrideMode": "UEFI",
            "BootSourceOverrideMode@Redfish.AllowableValues": ["UEFI"],
            "HttpBootUri": settings.http_boot_uri or None,
        },
        "ProcessorSummary": {
            "Count": 1,
            "CoreCount": machine.cpus,
            "LogicalProcessorCount": machine.cpus,
            "Status": OK,
        },
        "MemorySummary": {"TotalSystemMemoryGiB": machine.memory_mib / 1024, "Status": OK},
        "Processors": link(f"{path}/Processors"),
        "Memory": link(f"{path}/Memory"),
        "EthernetInterfaces": link(f"{path}/EthernetInterfaces"),
        "Storage": link(f"{path}/Storage"),
        "Links": {
            "ManagedBy": [link(f"{ROOT}/Managers/{MANAGER}")],
            "Chassis": [link(f"{ROOT}/Chassis/{machine.serial}")],
        },
        "Actions": {
            "#ComputerSystem.Reset": {
                "target": f"{path}/Actions/ComputerSystem.Reset",
                "ResetType@Redfish.AllowableValues": list(RESET_TYPES),
            }
        },
    }


def _system_part(view: View, path: str, rest: list[str]) -> Document | None:
    machine = view.facts.machine
    match rest:
        case []:
            return _collection(path, "ComputerSystem", [machine.serial])
        case [system] if system == machine.serial:
            return _system(view, path)
        case [system, kind, *names] if system == machine.serial and kind in _PARTS:
            return _PARTS[kind](machine, path, names)
        case _:
            return None


def _processors(machine: Machine, path: str, names: list[str]) -> Document | None:
    if not names:
        return _collection(path, "Processor", ["1"])
    if names != ["1"]:
        return None
    return _resource(path, "Processor.v1_18_0.Processor", "Processor 1") | {
        "ProcessorType": "CPU",
        "InstructionSet": "x86-64",
        "TotalCores": machine.cpus,
        "TotalThreads": machine.cpus,
        "Status": OK,
    }


def _memory(machine: Machine, path: str, names: list[str]) -> Document | None:
    if not names:
        return _collection(path, "Memory", ["1"])
    if names != ["1"]:
        return None
    return _resource(path, "Memory.v1_17_1.Memory", "Module 1") | {
        "MemoryType": "DRAM",
        "CapacityMiB": machine.memory_mib,
        "Status": OK,
    }


def _interfaces(machine: Machine, path: str, names: list[str]) -> Document | None:
    nics = {nic.name: nic for nic in machine.nics}
    if not names:
        return _collection(path, "EthernetInterface", list(nics))
    if len(names) > 1 or names[0] not in nics:
        return None
    nic = nics[names[0]]
    return _resource(path, "EthernetInterface.v1_9_0.EthernetInterface", nic.name) | {
        "MACAddress": nic.mac,
        "PermanentMACAddress": nic.mac,
        "SpeedMbps": nic.speed_gbps * 1000,
        "Status": OK,
    }


def _storage(machine: Machine, path: str, names: list[str]) -> Document | None:
    disks = {disk.name: disk for disk in machine.disks}
    match names:
        case []:
            return _collection(path, "Storage", ["1"])
        case ["1"]:
            return _resource(path, "Storage.v1_15_1.Storage", "Drives of the machine") | {
                "Drives": [link(f"{path}/Drives/{name}") for name in disks],
                "Drives@odata.count": len(disks),
                "Status": OK,
            }
        case ["1", "Drives", name] if name in disks:
            disk = disks[name]
            return _resource(path, "Drive.v1_17_0.Drive", name) | {
                "SerialNumber": disk.serial,
                "CapacityBytes": disk.size_gib << 30,
                "MediaType": "HDD" if disk.media == "hdd" else "SSD",
                "Protocol": "NVMe" if disk.media == "nvme" else "SAS",
                "Status": OK,
            }
        case _:
            return None


_PARTS: dict[str, Callable[[Machine, str, list[str]], Document | None]] = {
    "EthernetInterfaces": _interfaces,
    "Memory": _memory,
    "Processors": _processors,
    "Storage": _storage,
}


def _manager_part(view: View, path: str, rest: list[str]) -> Document | None:
    settings = view.settings
    match rest:
        case []:
            return _collection(path, "Manager", [MANAGER])
        case ["bmc"]:
            return _resource(path, "Manager.v1_18_0.Manager", "BMC") | {
                "ManagerType": "BMC",
                "UUID": str(uuid.uuid5(uuid.UUID(view.facts.uuid), "manager")),
                "FirmwareVersion": "1.0",
                "PowerState": "On",
                "Status": OK,
                "VirtualMedia": link(f"{path}/VirtualMedia"),
                "Links": {
                    "ManagerForServers": [link(f"{ROOT}/Systems/{view.facts.machine.serial}")],
                    "ManagerForChassis": [link(f"{ROOT}/Chassis/{view.facts.machine.serial}")],
                },
            }
        case ["bmc", "VirtualMedia"]:
            return _collection(path, "VirtualMedia", ["Cd"])
        case ["bmc", "VirtualMedia", "Cd"]:
            actions = {
                f"#VirtualMedia.{verb}": {"target": f"{path}/Actions/VirtualMedia.{verb}"}
                for verb in ("EjectMedia", "InsertMedia")
            }
            return _resource(path, "VirtualMedia.v1_6_2.VirtualMedia", "Virtual CD") | {
                "MediaTypes": ["CD", "DVD", "USBStick"],
                "Image": settings.media_uri or None,
                "ImageName": settings.media_uri.rsplit("/", 1)[-1] or None,
                "Inserted": settings.inserted,
                "WriteProtected": True,
                "ConnectedVia": "URI" if settings.inserted else "NotConnected",
                "TransferMethod": "Upload",
                "Status": OK,
                "Actions": actions,
            }
        case _:
            return None


def _chassis_part(view: View, path: str, rest: list[str]) -> Document | None:
    machine = view.facts.machine
    if not rest:
        return _collection(path, "Chassis", [machine.serial])
    if rest != [machine.serial]:
        return None
    return _resource(path, "Chassis.v1_23_0.Chassis", machine.serial) | {
        "ChassisType": "RackMount",
        "SerialNumber": view.serial,
        "Manufacturer": machine.vendor,
        "Model": machine.model,
        "AssetTag": view.settings.asset_tag,
        "PowerState": view.power.value,
        "Location": {"Placement": {"Rack": machine.rack, "RackOffset": machine.unit, "RackOffsetUnits": "EIA_310"}},
        "Status": OK,
        "Links": {
            "ComputerSystems": [link(f"{ROOT}/Systems/{machine.serial}")],
            "ManagedBy": [link(f"{ROOT}/Managers/{MANAGER}")],
        },
    }


def _session_part(view: View, path: str, rest: list[str]) -> Document | None:
    users = dict(view.sessions)
    match rest:
        case []:
            return _resource(path, "SessionService.v1_1_9.SessionService", "Sessions") | {
                "ServiceEnabled": True,
                "SessionTimeout": SESSION_SECONDS,
                "Status": OK,
                "Sessions": link(f"{path}/Sessions"),
            }
        case ["Sessions"]:
            return _collection(path, "Session", list(users))
        case ["Sessions", session] if session in users:
            return _resource(path, "Session.v1_7_1.Session", session) | {"UserName": users[session], "Password": None}
        case _:
            return None


def _task_part(view: View, path: str, rest: list[str]) -> Document | None:
    if rest == ["Tasks"]:
        return _collection(path, "Task", [])
    if rest:
        return None
    return _resource(path, "TaskService.v1_2_1.TaskService", "Tasks") | {
        "ServiceEnabled": True,
        "Status": OK,
        "Tasks": link(f"{path}/Tasks"),
    }
