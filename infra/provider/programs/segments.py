"""The bridge of a segment on a switch host, by networkd."""

import time
from pathlib import Path

from infra.provider.programs.fence import Call, RefusalError, guarded, run, write_whole

NETWORKS = Path("/etc/systemd/network")
STAMP_LINE = "# pachon-stamp: "
BRIDGES = Path("/proc/sys/net/bridge")
SETTINGS = Path("/etc/sysctl.d/60-pachon-bridges.conf")
SETTLE_SECONDS = 15


def files_of(call: Call) -> dict[Path, str]:
    """The segment's files: the bridge, its own configuration, its ports."""
    bridge = call["bridge"]
    head = STAMP_LINE + call["stamp"] + "\n"
    ports = " ".join(call["ports"]) or "none-of-them"
    return {
        NETWORKS / f"30-pachon-{bridge}.netdev": head
        + f"[NetDev]\nName={bridge}\nKind=bridge\n\n[Bridge]\nSTP=no\nForwardDelaySec=0\n",
        NETWORKS / f"31-pachon-{bridge}.network": head
        + f"[Match]\nName={bridge}\n\n[Network]\nLinkLocalAddressing=no\nConfigureWithoutCarrier=yes\n",
        NETWORKS / f"05-pachon-{bridge}-ports.network": head
        + f"[Match]\nName={ports}\n\n[Network]\nBridge={bridge}\nLinkLocalAddressing=no\n",
    }


def stamp_in_files(call: Call) -> str:
    """The stamp as the bridge's file keeps it."""
    path = next(iter(files_of(call)))
    if not path.exists():
        return ""
    first = path.read_text().partition("\n")[0]
    return first[len(STAMP_LINE) :].strip() if first.startswith(STAMP_LINE) else ""


def seen(call: Call) -> Call:
    """What the kernel shows of the bridge; the stamp is its alias, or (after a restart) that of its file."""
    bridge = Path("/sys/class/net") / call["bridge"]
    if not bridge.exists():
        return {"stamp": "", "ports": [], "up": False}
    alias = (bridge / "ifalias").read_text().strip()
    ports = sorted(port.name for port in (bridge / "brif").iterdir()) if (bridge / "brif").exists() else []
    return {"stamp": alias or stamp_in_files(call), "ports": ports, "up": is_up(bridge)}


def is_up(link: Path) -> bool:
    """Whether the link is administratively up."""
    return bool(int((link / "flags").read_text(), 16) & 1)


def only_bridge() -> None:
    """Keep the firewall and its connection tracking away from frames that are only passed on, now and at each start."""
    keys = [f"bridge-nf-call-{table}" for table in ("arptables", "ip6tables", "iptables")]
    write_whole(SETTINGS, "".join(f"-net.bridge.{key} = 0\n" for key in keys))
    for key in keys:
        if (BRIDGES / key).exists():
            (BRIDGES / key).write_text("0")


def apply(call: Call) -> Call:
    """Make the bridge and its ports what the call says; nothing is touched where they are."""
    missing = [port for port in call["ports"] if not (Path("/sys/class/net") / port).exists()]
    if missing:
        have = sorted(path.name for path in Path("/sys/class/net").glob("swp*"))
        raise RefusalError(
            f"it has no port {', '.join(missing)} (it has {', '.join(have) or 'none'})",
            "correct the cables table",
        )
    found = seen(call)
    if found["stamp"] and found["stamp"] != call["stamp"]:
        raise RefusalError(f"{call['bridge']} carries {found['stamp']}", "remove that network first")
    only_bridge()
    changed = [path for path, text in files_of(call).items() if write_whole(path, text)]
    stray = set(found["ports"]) - set(call["ports"])
    if changed or stray or sorted(found["ports"]) != sorted(call["ports"]) or not found["up"]:
        run("networkctl", "reload")
        for port in sorted(stray):
            run("ip", "link", "set", "dev", port, "nomaster")
        for port in call["ports"]:
            run("networkctl", "reconfigure", port, check=False)
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        found = seen(call)
        if found["up"] and found["ports"] == sorted(call["ports"]):
            break
        time.sleep(0.1)
    if (Path("/sys/class/net") / call["bridge"]).exists():
        run("ip", "link", "set", "dev", call["bridge"], "alias", call["stamp"])
    return seen(call)


def remove(call: Call) -> Call:
    """Remove the bridge if it carries exactly this stamp."""
    found = seen(call)
    if (found["stamp"] or stamp_in_files(call)) != call["stamp"]:
        return found
    for path in files_of(call):
        if path.exists():
            path.unlink()
    if (Path("/sys/class/net") / call["bridge"]).exists():
        run("ip", "link", "delete", "dev", call["bridge"])
    run("networkctl", "reload")
    return seen(call)


def main(call: Call) -> Call:
    """What is seen of the bridge after the call's verb."""
    return guarded(call, {"apply": apply, "remove": remove, "read": seen}[call["verb"]])
