"""Addresses of the host's NICs, by networkd."""

from pathlib import Path

from infra.provider.programs.fence import Call, guarded, run, write_whole

NETWORKS = Path("/etc/systemd/network")


def network_file(nic: Call) -> str:
    """As the deploy agent writes it: NICs are told by MAC."""
    text = f"[Match]\nMACAddress={nic['mac']}\nType=ether\n"
    text += f"\n[Network]\nAddress={nic['address']}/{nic['prefix']}\nLinkLocalAddressing=no\n"
    if nic.get("also"):
        text += f"Address={nic['also']}/{nic['prefix']}\n"
    if nic.get("gateway"):
        text += f"Gateway={nic['gateway']}\n"
    if nic.get("reply_gateway"):
        text += f"\n[Route]\nGateway={nic['reply_gateway']}\nTable=1000\n"
        text += f"\n[RoutingPolicyRule]\nFrom={nic['address']}\nTable=1000\n"
    return text


def main(call: Call) -> Call:
    """The names of the NICs that were changed."""
    return guarded(call, give)


def give(call: Call) -> Call:
    """Give the NICs their addresses; only files that differ are written, and only then is networkd told."""
    changed: list[str] = []
    for nic in call["nics"]:
        path = NETWORKS / f"10-pachon-{nic['name']}.network"
        if nic.get("address"):
            if write_whole(path, network_file(nic)):
                changed.append(nic["name"])
        elif path.exists():
            path.unlink()
            changed.append(nic["name"])
    if changed:
        run("networkctl", "reload")
        for name in changed:
            run("networkctl", "reconfigure", name, check=False)
    return {"changed": changed}
