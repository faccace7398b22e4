"""Facilities made for tests: a copy of the shipped lab under another name, or a few machines on one switch."""

import re
import shutil
from pathlib import Path

from pachon.places import CHECKOUT

LAB = CHECKOUT / "inventory" / "facilities" / "lab"


def copy_of_lab(folder: Path, *, name: str, second_octet: int = 19) -> Path:
    """The shipped lab with other addresses and another name, so that it can stand beside a person's lab."""
    shutil.copytree(LAB, folder)
    for path in folder.rglob("*"):
        if path.is_file():
            text = path.read_text().replace("198.18.", f"198.{second_octet}.")
            path.write_text(re.sub(r"^name: lab$", f"name: {name}", text, flags=re.MULTILINE))
    return folder


def small(
    folder: Path,
    *,
    name: str,
    network: str,
    containers: int = 2,
    firmware: int = 0,
    disk_gib: int = 4,
    settings: str = "",
) -> Path:
    """One site ``here`` with machines that are all hosts of one enclave.

    ``network`` are the first three octets of the first of four /24 blocks in a row, such as ``198.19.80``: management,
    BMCs, the enclave, the lab's own. ``settings`` are lines added to the site's file.
    """
    first = int(network.rsplit(".", 1)[1])
    base = network.rsplit(".", 1)[0]
    management, bmcs, enclave = (f"{base}.{first + number}" for number in range(3))
    site = folder / "sites" / "here"
    site.mkdir(parents=True)
    (folder / "facility.yaml").write_text(
        f"""name: {name}
title: A facility of a test
domain: {name}.pachon.test
hardware: lab
prefix: {network}.0/22
sites: [here]
enclaves:
  - {{name: lone, title: Lone, description: All hosts of the test.}}
flows: []
links: []
placements: []
"""
    )
    machines = [
        (number, "container" if number <= containers else "firmware") for number in range(1, containers + firmware + 1)
    ]
    hosts = "\n".join(
        f"  - {{name: {name}-{number:02}, machine: {serial(name, number)}, enclave: lone, "
        f"address: {enclave}.{10 + number}, groups: []}}"
        for number, _ in machines
    )
    (site / "site.yaml").write_text(
        f"""title: Here
time_zone: UTC
management: {management}.0/24
bmc_network: {bmcs}.0/24
boot_address: {management}.2
racks:
  - {{name: r1, units: 48}}
unmanaged_switches:
  - {{name: here-mgmt, rack: r1, ports: 48}}
segments:
  - {{enclave: lone, subnet: {enclave}.0/24, vni: 100}}
hosts:
{hosts}
{settings}"""
    )

    def table(file: str, heading: str, rows: list[str]) -> None:
        (site / file).write_text("\n".join([heading, *rows]) + "\n")

    table(
        "machines.csv",
        "serial,rack,unit,vendor,model,cpus,memory_mib,bmc_address,management_address,bmc_tls_sha256",
        [
            f"{serial(name, n)},r1,{n},Pachon,{model},{2 if model == 'firmware' else 1},"
            f"{1024 if model == 'firmware' else 512},{bmcs}.{10 + n},{management}.{10 + n},"
            for n, model in machines
        ],
    )
    table("nics.csv", "machine,nic,mac,speed_gbps", [f"{serial(name, n)},eth0,{mac(first, n)},1" for n, _ in machines])
    table(
        "disks.csv",
        "machine,disk,serial,media,size_gib",
        [
            f"{serial(name, n)},vda,D{serial(name, n)}A,ssd,{4 if model == 'firmware' else disk_gib}"
            for n, model in machines
        ],
    )
    table(
        "cables.csv",
        "machine,nic,switch,port",
        [f"{serial(name, n)},eth0,here-mgmt,p{n}" for n, _ in machines],
    )
    return folder


def serial(name: str, number: int) -> str:
    """Serial of the facility's machine of that number."""
    return f"{name.upper().replace('-', '')}{number:04}"


def mac(block: int, number: int) -> str:
    """MAC of the first NIC of that machine."""
    return f"52:54:00:{block:02x}:00:{number:02x}"
