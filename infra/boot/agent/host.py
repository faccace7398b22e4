"""The new host: its name, addresses, stamp, trust, keys and kernel."""

import hashlib
import secrets
import shutil
from pathlib import Path

from .console import TroubleError, run
from .disk import mounted
from .image import CHUNK
from .machine import Facts
from .server import Server, download


def put(root: Path, path: str, text: str, mode: int = 0o644) -> None:
    """Write a file of the new host."""
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    target.chmod(mode)


def network_files(address_on: dict[str, Facts]) -> dict[str, str]:
    """Name and content of systemd-networkd's files: NICs are told by MAC."""
    files = {}
    for mac, nic in sorted(address_on.items()):
        base = f"/etc/systemd/network/10-pachon-{nic['name']}"
        match = f"[Match]\nMACAddress={mac}\nType=ether\n"
        files[f"{base}.link"] = f"{match}\n[Link]\nName={nic['name']}\n"
        if nic["address"] is None:
            continue
        text = f"{match}\n[Network]\nAddress={nic['address']}/{nic['prefix']}\nLinkLocalAddressing=no\n"
        if nic.get("also"):
            text += f"Address={nic['also']}/{nic['prefix']}\n"
        if nic.get("gateway"):
            text += f"Gateway={nic['gateway']}\n"
        if nic.get("reply_gateway"):
            text += f"\n[Route]\nGateway={nic['reply_gateway']}\nTable=1000\n"
            text += f"\n[RoutingPolicyRule]\nFrom={nic['address']}\nTable=1000\n"
        files[f"{base}.network"] = text
    return files


def configure(root: Path, orders: Facts, server: Server) -> None:
    """Give the new host its name, addresses, stamp, trust and signed keys."""
    put(root, "/etc/hostname", orders["host"] + "\n")
    put(root, "/etc/hosts", "".join(line + "\n" for line in orders["hosts"]))
    put(root, "/etc/machine-id", secrets.token_hex(16) + "\n", 0o444)
    for path, text in network_files(orders["address_on"]).items():
        put(root, path, text)
    put(root, "/etc/pachon/stamp.json", orders["stamp"])
    put(root, "/etc/pachon/stamp.json.sig", orders["stamp_signature"])
    put(root, "/etc/ssh/pachon/user_ca.pub", orders["user_ca_public"])
    for user, names in orders["principals"].items():
        put(root, f"/etc/ssh/pachon/principals/{user}", "".join(name + "\n" for name in names))
    key = root / "etc/ssh/ssh_host_ed25519_key"
    for old in key.parent.glob("ssh_host_*"):
        old.unlink()
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", orders["host"], "-f", key)
    public = key.with_suffix(".pub").read_text().strip()
    answer = server.post("host-keys", public_keys=[public])
    put(root, "/etc/ssh/ssh_host_ed25519_key-cert.pub", answer["certificates"][0] + "\n")


def install_kernel(orders: Facts, root: Path, esp_node: str, server: Server, *, esp_at: Path) -> None:
    """Kernel modules into the root, boot loader and kernel into the EFI partition (machines with firmware only)."""
    kernel = orders["kernel"]
    packed = root / ".pachon-kernel.tar.zst"
    digest = hashlib.sha256()
    with download(kernel["url"], server.patience * 5) as response, packed.open("wb") as file:
        total, got = int(response.headers["Content-Length"]), 0
        while chunk := response.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
            got += len(chunk)
            server.moved("kernel", round(got / total, 3))
    if f"sha256:{digest.hexdigest()}" != kernel["digest"]:
        raise TroubleError(f"the kernel has digest sha256:{digest.hexdigest()}, not {kernel['digest']}", "image")
    unpacked = root / ".pachon-kernel"
    unpacked.mkdir()
    run("tar", "-x", "-I", "zstd", "-f", packed, "-C", unpacked)
    packed.unlink()
    modules = unpacked / "modules/lib/modules"
    place = root / "lib/modules"
    place.mkdir(parents=True, exist_ok=True)
    for version in modules.iterdir() if modules.is_dir() else ():
        shutil.rmtree(place / version.name, ignore_errors=True)
        version.rename(place / version.name)
    run("mkfs.vfat", "-n", "PACHON-ESP", esp_node)
    with mounted(esp_node, "vfat", esp_at) as esp:
        run("cp", "-r", f"{unpacked}/esp/.", esp)
    shutil.rmtree(unpacked)
