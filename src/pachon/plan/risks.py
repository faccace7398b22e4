"""How much an action may hurt, and why: one rule each, so that people can argue with it."""

from collections.abc import Mapping

from pachon.model.facility import Host
from pachon.model.interfaces import SWITCH_FLAVOUR
from pachon.plan.document import DESTROYING, Action, Risk
from pachon.plan.needs import Ground

WAYS = ("gateway", "switch")
"""Groups whose hosts carry the packets of others."""
DOORS = {
    "bastion": "a mistake in it locks people out",
    "certificates": "a mistake in it stops services that speak TLS",
    "firewall": "a mistake in it cuts the host off",
    "gateway": "what crosses enclaves goes through it",
    "slurm_controller": "jobs wait while it restarts",
    "switch": "all that hangs on it goes through it",
}
"""Roles whose change is felt beyond what they configure."""

LOST = {"host": "what is on its system disk is lost", "network": "its hosts lose the segment"}
LIGHT = {
    "machine": "only what is recorded of the machine changes",
    "node": "no job begins there any more, and those that ran there begin anew elsewhere",
}
GIVEN_BACK = "jobs begin there again"
"""Said of a worker that Slurm may use again."""
GONE = {
    "namespace": "all that is in it goes, whoever put it there",
    "persistentvolumeclaim": "what is in its volume may be lost",
}
WITH_PODS = ("daemonset", "deployment", "statefulset")
UNKNOWN = "holds nobody knows what"
"""Said of a volume whose host does not answer: it counts as holding data."""


def risk_of(action: Action, ground: Ground, holding: Mapping[str, str]) -> tuple[Risk, str]:
    """The risk of an action and why it is that."""
    if action.verb == "unknown":
        return "high", "nobody can tell what it would do"
    if action.layer == "hosts":
        return _of_role(action, ground)
    if action.layer == "clusters":
        return _of_object(action)
    return _of_hardware(action, ground, holding)


def _of_hardware(action: Action, ground: Ground, holding: Mapping[str, str]) -> tuple[Risk, str]:
    kind = action.address.split("/")[1] if "/" in action.address else ""
    if kind in LIGHT:
        return "low", LIGHT[kind] if action.layer == "hardware" or action.verb == "delete" else GIVEN_BACK
    if action.verb == "create":
        return "low", "nothing stands there"
    if action.verb in DESTROYING:
        return "destroys", LOST.get(kind) or f"the volume {holding.get(action.address, UNKNOWN)}"
    return _of_change(kind, action, ground)


def _of_object(action: Action) -> tuple[Risk, str]:
    kind = action.address.split("/")[2]
    if action.verb == "create":
        return "low", "nothing of it is there"
    if action.verb == "delete":
        return "destroys", GONE.get(kind, "it is gone, and what is made of it")
    return ("medium", "its pods may be started anew") if kind in WITH_PODS else ("low", "it touches this object alone")


def _of_change(kind: str, action: Action, ground: Ground) -> tuple[Risk, str]:
    match kind:
        case "network":
            return "high", "its hosts lose one another if it goes wrong"
        case "volume":
            return _of_volume(action)
        case _:
            return _of_host(action, ground.hosts.get(action.address))


def _of_role(action: Action, ground: Ground) -> tuple[Risk, str]:
    host, _, role = action.address.partition("/role/")
    if action.verb == "create":
        return "low", "it was never played there"
    why = DOORS.get(role, "")
    if action.verb == "delete":
        why = why or "what it left there stops and is put aside"
    known = ground.hosts.get(host)
    if why and known is not None and _carries_others(known):
        return "high", f"{why}, and others go through this host"
    return ("medium", why) if why else ("low", "it touches this host alone")


def _of_volume(action: Action) -> tuple[Risk, str]:
    size = next((each for each in action.differences if each.key == "size_gib"), None)
    if size is not None and isinstance(size.before, int) and isinstance(size.after, int) and size.after < size.before:
        return "high", "its limit shrinks: what is above it cannot be written to any more"
    return "medium", "it may be mounted anew"


def _of_host(action: Action, host: Host | None) -> tuple[Risk, str]:
    keys = {each.key for each in action.differences}
    if "nics" in keys:
        if host is not None and _carries_others(host):
            return "high", "its addresses change, and others go through it"
        return "medium", "its addresses change"
    if not keys:
        return "medium", "it is started"
    return "low", "only what is recorded of it changes"


def _carries_others(host: Host) -> bool:
    return host.flavour == SWITCH_FLAVOUR or any(group in WAYS for group in host.groups)
