"""What a workload of a cluster waits for until it is as its manifest says, in words: which pod, and why. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from pachon.model.cluster_object import Body

AWAITED = ("DaemonSet", "Deployment", "Job", "StatefulSet")
"""Kinds that come to be only some time after they were applied; sorted."""
SAID_MOST = 300


def waits_for(body: Body) -> str:
    """What is still to come of a workload; empty once nothing is."""
    status, spec = body.get("status") or {}, body.get("spec") or {}
    match body.get("kind"):
        case "Job":
            return "" if spec.get("suspend") or _condition(body, "Complete") == "True" else _of_job(spec, status)
        case "Deployment" | "StatefulSet" | "DaemonSet":
            if int(status.get("observedGeneration") or 0) < int(body["metadata"].get("generation") or 0):
                return "its controller has not seen it yet"
            return _of_pods(str(body["kind"]), spec, status)
        case _:
            return ""


def gave_up(body: Body) -> bool:
    """Whether the cluster itself says that nothing more will come of it."""
    if body.get("kind") == "Job":
        return _condition(body, "Failed") == "True"
    return _condition(body, "Progressing") == "False"


def why(body: Body, pods: Sequence[Body]) -> str:
    """Why it is still waited for, for people: as its newest pod that is not ready says, else as it says itself."""
    told = waits_for(body)
    newest = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)
    for pod in newest:
        if (said := of_pod(pod)) and pod["metadata"].get("deletionTimestamp") is None:
            return _short(f"{told}: pod {pod['metadata']['name']}: {said}")
    for type_ in ("ReplicaFailure", "Failed", "Progressing"):
        found = _conditions(body).get(type_, {})
        if found.get("message") and found.get("status") == ("False" if type_ == "Progressing" else "True"):
            return _short(f"{told}: {found['message']}")
    return told


def of_pod(pod: Body) -> str:
    """Why a pod is not ready; empty if it is, or has ended well."""
    status = pod.get("status") or {}
    if status.get("phase") == "Succeeded" or _condition(pod, "Ready") == "True":
        return ""
    scheduled = _conditions(pod).get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return f"has no node: {scheduled.get('message') or scheduled.get('reason')}"
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        if said := _of_container(container):
            return said
    if status.get("phase") == "Failed":
        return f"failed: {status.get('message') or status.get('reason')}"
    if not scheduled:
        return "nobody has chosen a node for it yet"
    return "is being started on its node"


def _of_container(container: Mapping[str, Any]) -> str:
    state = container.get("state") or {}
    ended = (container.get("lastState") or {}).get("terminated") or state.get("terminated") or {}
    last = ""
    if ended and int(ended.get("exitCode") or 0) != 0:
        reason = ended.get("reason") or "Error"
        last = f"it ended with status {ended['exitCode']}" + (f" ({reason})" if reason != "Error" else "")
    name = f"container {container['name']}"
    waiting = state.get("waiting") or {}
    if waiting.get("reason") == "CrashLoopBackOff":
        return f"{name} ends again and again: {last}, {container.get('restartCount', 0)} times started anew"
    if waiting and waiting.get("reason") not in ("ContainerCreating", "PodInitializing"):
        return f"{name} waits: {waiting.get('reason')}" + (f": {waiting['message']}" if waiting.get("message") else "")
    if state.get("terminated") and last:
        return f"{name}: {last}"
    if "running" in state and not container.get("ready"):
        return f"{name} runs and does not pass its readiness probe" + (f"; before, {last}" if last else "")
    return ""


def _of_pods(kind: str, spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    if kind == "DaemonSet":
        wanted = int(status.get("desiredNumberScheduled") or 0)
        new, there = int(status.get("updatedNumberScheduled") or 0), wanted
        good = int(status.get("numberAvailable") or 0)
    else:
        wanted = int(spec.get("replicas", 1))
        new, there = int(status.get("updatedReplicas") or 0), int(status.get("replicas") or 0)
        good = int(status.get("availableReplicas") or 0)
    by_hand = (spec.get("updateStrategy") or {}).get("type") == "OnDelete"
    if new < wanted and not by_hand:
        return f"{new} of {wanted} pods are of this version"
    if there > max(new, wanted) and kind == "Deployment":
        return f"{there - new} pods of another version still run"
    return f"{good} of {wanted} pods are available" if good < wanted else ""


def _of_job(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    return f"{int(status.get('succeeded') or 0)} of {int(spec.get('completions') or 1)} pods have ended well"


def _conditions(body: Body) -> dict[str, Mapping[str, Any]]:
    return {str(each["type"]): each for each in (body.get("status") or {}).get("conditions") or ()}


def _condition(body: Body, type_: str) -> str:
    return str(_conditions(body).get(type_, {}).get("status", ""))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SAID_MOST else f"{text[:SAID_MOST]}…"
