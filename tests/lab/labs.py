"""Facilities made for the lab's tests: two machines and a switch at one site, or as many as wanted."""

from ipaddress import IPv4Network

from pachon.model.facility import (
    Cable,
    DeployLimits,
    Disk,
    Facility,
    Hardware,
    Machine,
    Nic,
    Site,
    UnmanagedSwitch,
)


def _mac(block: int, number: int, nic: int) -> str:
    return f"02:70:{block:02x}:00:{number:02x}:{nic:02x}"


def machine(
    block: int, number: int, *, site: str, model: str = "container", nics: int = 1, disk_gib: int = 1
) -> Machine:
    """Machine of that number in the block."""
    prefix = "swp" if model == "switch" else "eth"
    named = [Nic(name="eth0", mac=_mac(block, number, 0), speed_gbps=1)]
    named += [Nic(name=f"{prefix}{n}", mac=_mac(block, number, n), speed_gbps=25) for n in range(1, nics)]
    return Machine(
        serial=f"T{block}N{number}",
        site=site,
        rack="r1",
        unit=number,
        vendor="Pachon",
        model=model,
        cpus=2,
        memory_mib=1024,
        bmc_address=_network(block)[64 + number],
        management_address=_network(block)[16 + number],
        bmc_tls_sha256="",
        nics=tuple(named),
        disks=(Disk(name="sda", serial=f"D{block}N{number}A", media="ssd", size_gib=disk_gib),),
    )


def _network(block: int) -> IPv4Network:
    return IPv4Network(f"198.19.{block}.0/24")


def facility(name: str, block: int, *, machines: tuple[Machine, ...], cables: tuple[Cable, ...] = ()) -> Facility:
    """A facility of one site, ``base``, in 198.19.<block>.0/24: management in the first quarter, BMCs in the second."""
    ports = tuple(
        Cable(machine=each.serial, nic="eth0", switch="u1", port=f"p{number}")
        for number, each in enumerate(machines, start=1)
    )
    site = Site(
        name="base",
        title="Base",
        time_zone="UTC",
        management=IPv4Network(f"198.19.{block}.0/26"),
        bmc_network=IPv4Network(f"198.19.{block}.64/26"),
        boot_address=_network(block)[2],
        machines=machines,
        unmanaged_switches=(UnmanagedSwitch(name="u1", rack="r1", ports=64),),
        cables=(*ports, *cables),
        segments=(),
        hosts=(),
        storage_pools=(),
        volumes=(),
        deploy=DeployLimits(),
    )
    return Facility(
        name=name,
        title=name,
        domain=f"{name}.test",
        hardware=Hardware.LAB,
        prefix=_network(block),
        sites=(site,),
        enclaves=(),
        flows=(),
        links=(),
        placements=(),
    )
