"""Facilities made for tests: a copy of the shipped lab under another name, or a few machines on one switch."""

import re
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pachon.places import CHECKOUT

LAB = CHECKOUT / "inventory" / "facilities" / "lab"
LAB_BLOCKS = 16
"""Number of /24 blocks that a copy of the lab takes; the last one is the lab's own."""
ADDRESS = re.compile(r"\b(198\.1[89])\.(\d+)\.(?=\d)")
"""First half and third octet of each address of a lab."""
THREE_SITES_BLOCKS = 32
"""Number of /24 blocks that it takes with a third site."""
WITHOUT_STORAGE = {
    "base": ("base-adm01", "base-gw01", "base-sw01"),
    "archive": ("archive-acct01", "archive-adm01", "archive-batch01", "archive-bctl01", "archive-gw01", "archive-sw01"),
}
"""The fewest hosts that make the archive a whole site with batch, and base the other end of its links."""


def renumbered(text: str, network: str, *, blocks: int = LAB_BLOCKS) -> str:
    """The text with the shipped lab's /24 blocks put next to one another, from ``198.19.96`` or the like onwards."""
    base, _, first = network.rpartition(".")
    used = sorted({int(block) for path in LAB.rglob("*") if path.is_file() for block in _blocks(path.read_text())})
    number = {block: int(first) + place for place, block in enumerate(used)}
    assert len(number) < blocks, "the shipped lab has outgrown the range of its copies"
    text = text.replace("198.18.0.0/16", f"{network}.0/{25 - blocks.bit_length()}")
    return re.sub(r"\b198\.18\.(\d+)\.(?=\d)", lambda found: f"{base}.{number[int(found[1])]}.", text)


def _blocks(text: str) -> list[str]:
    return re.findall(r"\b198\.18\.(\d+)\.\d", text.replace("198.18.0.0/16", ""))


def copy_of_lab(folder: Path, *, name: str, network: str = "198.19.96", blocks: int = LAB_BLOCKS) -> Path:
    """The shipped lab under another name and in a /20 of its own, so that it can stand beside a person's lab.

    ``network`` are the first three octets of the /20 (with THREE_SITES_BLOCKS of a /19), such as ``198.19.96``.
    """
    shutil.copytree(LAB, folder)
    for path in folder.rglob("*"):
        if path.is_file():
            text = renumbered(path.read_text(), network, blocks=blocks)
            path.write_text(re.sub(r"^name: lab$", f"name: {name}", text, flags=re.MULTILINE))
    return folder


def third_site(folder: Path, *, name: str = "third") -> None:
    """Give a copy of the lab with THREE_SITES_BLOCKS a third site: the archive's files renumbered, and a link to base.

    Nothing but files changes: serials, names, MACs, VNIs and /24 blocks; the gateway at base gets a NIC for the link.
    """
    used = {found for path in folder.rglob("*") if path.is_file() for found in ADDRESS.findall(path.read_text())}
    network = min(used)[0]
    archive = folder / "sites" / "archive"
    own = sorted({int(block) for path in archive.iterdir() for _, block in ADDRESS.findall(path.read_text())})
    first = 1 + max(int(block) for _, block in used)
    number = {block: first + place for place, block in enumerate(own)}

    def renamed(text: str) -> str:
        text = text.replace("base-archive,archive", f"base-{name},{name}")
        text = re.sub(r"\barchive-(?!us\b|base\b)", f"{name}-", text)
        text = re.sub(r"\b(D?)LA(\d{4})", r"\1LC\2", text).replace("02:18:02:", "02:18:03:")
        text = re.sub(r"\bvni: 11(\d{3})\b", r"vni: 12\1", text)
        return ADDRESS.sub(lambda found: f"{found[1]}.{number[int(found[2])]}.", text)

    (folder / "sites" / name).mkdir()
    for path in archive.iterdir():
        (folder / "sites" / name / path.name).write_text(renamed(path.read_text()))
    base = folder / "sites" / "base"
    _append(base / "nics.csv", "LB0006,eth6,02:18:01:00:06:06,10")
    _append(base / "cables.csv", f"LB0006,eth6,base-{name},base")
    text = (folder / "facility.yaml").read_text()
    text = text.replace("sites: [base, archive]\n", f"sites: [base, archive, {name}]\n", 1)
    link = f"  - {{name: base-{name}, sites: [base, {name}], rate_mbps: 200, delay_ms: 30, "
    text = text.replace("links:\n", f"links:\n{link}subnet: {network}.{first + len(own)}.0/29}}\n", 1)
    placed = re.findall(r"  - service: .*\n    site: archive\n(?:    .*\n)*", text)
    text = text.replace("placements:\n", "placements:\n" + "".join(placed).replace("site: archive", f"site: {name}"), 1)
    (folder / "facility.yaml").write_text(text)


def keep_hosts(folder: Path, kept: Mapping[str, Collection[str]]) -> None:
    """Leave active in a copy of the lab only these hosts of each site; campaigns, which need others, go."""
    shutil.rmtree(folder / "campaigns")
    for site, names in kept.items():
        path = folder / "sites" / site / "site.yaml"
        before, hosts, rest = re.split(r"^(?=hosts:|storage_pools:)", path.read_text(), flags=re.MULTILINE)
        items = re.split(r"^(?=  - name: )", hosts, flags=re.MULTILINE)
        path.write_text(before + "".join(_kept(item, names) for item in items) + rest)


def _kept(item: str, names: Collection[str]) -> str:
    """A host, or a pool and as many of its hosts as are among the names; planned where that is none."""
    pattern = re.search(r"    host_names: (\S+)#+\n", item)
    name = re.match(r"  - name: (\S+)", item)
    if name is None or "    state: planned\n" in item:
        return item
    found = [each for each in names if re.fullmatch(rf"{pattern[1].rstrip('#')}\d+" if pattern else name[1], each)]
    if pattern and found:
        return re.sub(r"    count: \d+\n", f"    count: {len(found)}\n", item)
    return item if found else re.sub(r"\A.*\n", r"\g<0>    state: planned\n", item)


def activate_pool(folder: Path, site: str, pool: str) -> None:
    """Have the hosts of a planned pool of a copy of the lab, whose state is its last line."""
    _set_pool(folder, site, pool, "    state: planned\n", "")


def plan_pool(folder: Path, site: str, pool: str) -> None:
    """Take that back."""
    _set_pool(folder, site, pool, "", "    state: planned\n")


def _set_pool(folder: Path, site: str, pool: str, was: str, becomes: str) -> None:
    path = folder / "sites" / site / "site.yaml"
    pattern = rf"(?m)^(  - name: {pool}\n(?:    (?!state:).*\n)*){was}(?!    )"
    text, number = re.subn(pattern, rf"\g<1>{becomes}", path.read_text())
    assert number == 1, f"{path} has no pool {pool} of that state"
    path.write_text(text)


def _append(path: Path, row: str) -> None:
    path.write_text(path.read_text() + row + "\n")


def small(
    folder: Path,
    *,
    name: str,
    network: str,
    containers: int = 2,
    firmware: int = 0,
    spare: int = 0,
    disk_gib: int = 4,
    furnished: bool = False,
    settings: str = "",
) -> Path:
    """One site ``here`` with machines that are all hosts of one enclave, but for ``spare`` containers that carry none.

    ``network`` are the first three octets of the first of four /24 blocks in a row, such as ``198.19.80``: management,
    BMCs, the enclave, the lab's own. ``furnished``: the first machine is a switch that the others hang on and boot
    through, and the second has one volume, so that every stack has something to do; otherwise all boot through a
    switch that is no machine. ``settings`` are lines added to the site's file.
    """
    plot = _Plot(name, network)
    for number in range(1, containers + firmware + 1):
        plot.machine(number, "container" if number <= containers else "firmware", disk_gib=disk_gib)
        plot.host(number, flavour="switch" if furnished and number == 1 else "server")
    for number in range(containers + firmware + 1, containers + firmware + spare + 1):
        plot.machine(number, "container", disk_gib=disk_gib)
    if furnished:
        plot.furnish(containers + firmware + spare)
    plot.write(folder, settings)
    return folder


def cluster(folder: Path, *, name: str, network: str, workers: int = 2) -> Path:
    """A small facility: machine 1 is a switch, 2 the controller of a Kubernetes cluster, the others are its workers."""
    small(folder, name=name, network=network, containers=2 + workers, furnished=True)
    site = folder / "sites" / "here"
    machines = (site / "machines.csv").read_text()
    (site / "machines.csv").write_text(machines.replace(",1,512,", ",2,2048,"))
    text = (site / "site.yaml").read_text()
    for number in range(2, 3 + workers):
        group = "kubernetes_controller" if number == 2 else "kubernetes_worker"
        was = rf"(name: {host(name, number)},.*) groups: \[\], flavour: server"
        text = re.sub(was, rf"\1 groups: [{group}], flavour: kubernetes", text)
    (site / "site.yaml").write_text(text)
    return folder


@dataclass
class _Plot:
    """Rows and lines of a small facility as they come together."""

    name: str
    network: str
    machines: list[str] = field(default_factory=list)
    nics: list[str] = field(default_factory=list)
    disks: list[str] = field(default_factory=list)
    cables: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    more: list[str] = field(default_factory=list)

    def block(self, number: int) -> str:
        """The first three octets of one of the four blocks."""
        base, _, first = self.network.rpartition(".")
        return f"{base}.{int(first) + number}"

    def mac(self, number: int, nic: int = 0) -> str:
        """MAC of a NIC."""
        return f"52:54:00:{int(self.network.rpartition('.')[2]):02x}:{nic:02x}:{number:02x}"

    def machine(self, number: int, model: str, *, disk_gib: int) -> None:
        """Enter a machine with one NIC and one disk."""
        own = serial(self.name, number)
        cpus, memory = (2, 1024) if model == "firmware" else (1, 512)
        addresses = f"{self.block(1)}.{10 + number},{self.block(0)}.{10 + number}"
        self.machines.append(f"{own},r1,{number},Pachon,{model},{cpus},{memory},{addresses},")
        self.nics.append(f"{own},eth0,{self.mac(number)},1")
        self.disks.append(f"{own},vda,D{own}A,ssd,{disk_gib}")
        self.cables.append(f"{own},eth0,here-mgmt,p{number}")

    def host(self, number: int, *, flavour: str) -> None:
        """Enter the host on that machine."""
        self.hosts.append(
            f"  - {{name: {host(self.name, number)}, machine: {serial(self.name, number)}, enclave: lone, "
            f"address: {self.block(2)}.{10 + number}, groups: [], flavour: {flavour}}}"
        )

    def furnish(self, machines: int) -> None:
        """Machine 1 becomes the switch of the others; machine 2 gets a second disk with a volume on it."""
        switch, second = serial(self.name, 1), serial(self.name, 2)
        self.nics.append(f"{switch},swp99,{self.mac(1, 4)},10")
        self.cables = [f"{switch},eth0,here-mgmt,p1", f"{switch},swp99,here-mgmt,p48"]
        for number in range(2, machines + 1):
            own = serial(self.name, number)
            self.nics += [f"{switch},swp{number},{self.mac(number, 2)},10", f"{own},eth1,{self.mac(number, 1)},10"]
            self.nics.append(f"{switch},swp{50 + number},{self.mac(number, 3)},10")
            self.cables += [f"{own},eth0,{switch},swp{50 + number}", f"{own},eth1,{switch},swp{number}"]
        self.disks.append(f"{second},vdb,D{second}B,hdd,2")
        self.more += [
            "storage_pools:",
            f"  - {{name: data, host: {host(self.name, 2)}, disks: [vdb], file_system: btrfs, mirrored: false}}",
            "volumes:",
            "  - {name: landing, pool: data, size_gib: 1, mount: /srv/landing}",
        ]

    def write(self, folder: Path, settings: str) -> None:
        """Write the definition's files."""
        site = folder / "sites" / "here"
        site.mkdir(parents=True)
        (folder / "facility.yaml").write_text(
            f"""name: {self.name}
title: A facility of a test
domain: {self.name}.pachon.test
hardware: lab
prefix: {self.network}.0/22
sites: [here]
enclaves:
  - {{name: lone, title: Lone, description: All hosts of the test.}}
flows: []
links: []
placements: []
"""
        )
        lines = [
            "title: Here",
            "time_zone: UTC",
            f"management: {self.block(0)}.0/24",
            f"bmc_network: {self.block(1)}.0/24",
            f"boot_address: {self.block(0)}.2",
            "racks:",
            "  - {name: r1, units: 48}",
            "unmanaged_switches:",
            "  - {name: here-mgmt, rack: r1, ports: 48}",
            "segments:",
            f"  - {{enclave: lone, subnet: {self.block(2)}.0/24, vni: 100}}",
            "hosts:",
            *self.hosts,
            *self.more,
        ]
        (site / "site.yaml").write_text("\n".join(lines) + "\n" + settings)
        heading = "serial,rack,unit,vendor,model,cpus,memory_mib,bmc_address,management_address,bmc_tls_sha256"
        tables = {
            "machines.csv": (heading, self.machines),
            "nics.csv": ("machine,nic,mac,speed_gbps", sorted(self.nics)),
            "disks.csv": ("machine,disk,serial,media,size_gib", sorted(self.disks)),
            "cables.csv": ("machine,nic,switch,port", sorted(self.cables)),
        }
        for file, (first, rows) in tables.items():
            (site / file).write_text("\n".join([first, *rows]) + "\n")


def serial(name: str, number: int) -> str:
    """Serial of the facility's machine of that number."""
    return f"{name.upper().replace('-', '')}{number:04}"


def host(name: str, number: int) -> str:
    """Name of the host of that number."""
    return f"{name}-{number:02}"


def drop_host(folder: Path, name: str) -> None:
    """Take a host out of the definition of a small facility."""
    _edit(folder, lambda line: "" if f"name: {name}," in line else line)


def alter_host(folder: Path, name: str, **values: str) -> None:
    """Give a host of a small facility another machine, flavour or whatever else its line has."""

    def change(line: str) -> str:
        if f"name: {name}," in line:
            for key, value in values.items():
                line = re.sub(rf"\b{key}: [\w-]+", f"{key}: {value}", line)
        return line

    _edit(folder, change)


def _edit(folder: Path, change: Callable[[str], str]) -> None:
    path = folder / "sites" / "here" / "site.yaml"
    path.write_text("".join(change(line) for line in path.read_text().splitlines(keepends=True)))
