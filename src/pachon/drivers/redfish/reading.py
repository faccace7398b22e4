"""From Redfish documents to values: pure, and forgiving about what vendors leave out."""

from typing import Any

from pachon.drivers.redfish.inventory import BootSetting, BootSource, Drive, Glance, Inventory, Port, Power
from pachon.drivers.redfish.quirks import Quirks
from pachon.errors import PermanentError

Document = dict[str, Any]


def pick(document: Document, *path: str) -> object:
    """The value under nested keys, or None."""
    value: object = document
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def objects(value: object) -> list[Document]:
    """The JSON objects in a list; empty for anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def one_system(bmc: str, systems: list[Document], serial: str) -> Document:
    """The one system behind a BMC, or the one with the serial where there are several.

    Raises:
        PermanentError: there is none, or it cannot be told which.
    """
    usable = [system for system in systems if str(system.get("@odata.id", "")).startswith("/")]
    named = [system for system in usable if serial and str(system.get("SerialNumber") or "").strip() == serial]
    match named or usable:
        case [system]:
            return system
        case []:
            raise PermanentError(f"{bmc} knows no system", cure="restart the BMC; check that it is wired to a machine")
        case found:
            raise PermanentError(
                f"{bmc} stands for {len(found)} systems and none has the serial {serial!r}",
                cure="give the address of a BMC with one machine behind it",
            )


def power(bmc: str, system: Document) -> Power:
    """ON or FORCE_OFF (off); on the way there counts as not yet there.

    Raises:
        PermanentError: it says neither.
    """
    match system.get("PowerState"):
        case "On" | "PoweringOff" | "Paused":
            return Power.ON
        case "Off" | "PoweringOn":
            return Power.FORCE_OFF
        case other:
            raise PermanentError(f"{bmc} says that power is {other!r}", cure="restart the BMC; update its firmware")


def boot(system: Document, quirks: Quirks) -> BootSetting:
    """The boot source as shown; a disabled one is NONE."""
    target = pick(system, "Boot", "BootSourceOverrideTarget")
    enabled = pick(system, "Boot", "BootSourceOverrideEnabled")
    uri = str(pick(system, "Boot", "HttpBootUri") or "")
    sources = {source.value: source for source in BootSource} | {quirks.media_boot_target: BootSource.MEDIA}
    if enabled in (None, "Disabled"):
        return BootSetting(source=BootSource.NONE, once=False, uri=uri)
    return BootSetting(source=sources.get(str(target), BootSource.NONE), once=enabled == "Once", uri=uri)


def holds(shown: BootSetting, source: BootSource, *, uri: str, once: bool, quirks: Quirks) -> bool:
    """Whether the boot source shown is the one that was set."""
    if source is BootSource.NONE:
        return shown.source is BootSource.NONE
    same_uri = source is not BootSource.HTTP or not uri or shown.uri == uri
    return shown.source is source and same_uri and (shown.once == once or quirks.once_reads_continuous)


def glance(bmc: str, system: Document, *, tls_sha256: str) -> Glance:
    """What the system's own document tells of it."""
    return Glance(
        serial=_text(system, "SerialNumber"),
        power=power(bmc, system),
        asset_tag=_text(system, "AssetTag"),
        tls_sha256=tls_sha256,
    )


def inventory(
    bmc: str, system: Document, *, nics: list[Document], drives: list[Document], tls_sha256: str, quirks: Quirks
) -> Inventory:
    """The inventory out of the documents read."""
    threads = pick(system, "ProcessorSummary", "LogicalProcessorCount") or pick(system, "ProcessorSummary", "CoreCount")
    return Inventory(
        serial=_text(system, "SerialNumber"),
        uuid=_text(system, "UUID").lower(),
        manufacturer=_text(system, "Manufacturer"),
        model=_text(system, "Model"),
        power=power(bmc, system),
        asset_tag=_text(system, "AssetTag"),
        bios=_text(system, "BiosVersion"),
        cpus=int(_number(threads)),
        memory_mib=round(_number(pick(system, "MemorySummary", "TotalSystemMemoryGiB")) * 1024),
        nics=tuple(_port(nic) for nic in nics),
        disks=tuple(_drive(drive) for drive in drives),
        boot=boot(system, quirks),
        tls_sha256=tls_sha256,
    )


def _port(nic: Document) -> Port:
    mac = _text(nic, "PermanentMACAddress") or _text(nic, "MACAddress")
    return Port(name=_text(nic, "Id"), mac=mac.lower().replace("-", ":"))


def _drive(drive: Document) -> Drive:
    media = "/".join(filter(None, (_text(drive, "MediaType"), _text(drive, "Protocol"))))
    return Drive(
        name=_text(drive, "Id"),
        serial=_text(drive, "SerialNumber"),
        size_bytes=int(_number(drive.get("CapacityBytes"))),
        media=media,
    )


def _text(document: Document, name: str) -> str:
    return str(document.get(name) or "").strip()


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
