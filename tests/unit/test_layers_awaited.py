"""What workloads wait for is told in words: which pod, and why. States are as clusters report them."""

from typing import Any

import pytest

from pachon.layers.awaited import gave_up, waits_for, why

POD = {"metadata": {"name": "web-1", "creationTimestamp": "2026-11-28T12:00:00Z"}}
SCHEDULED = {"type": "PodScheduled", "status": "True"}
LATE = {"type": "Progressing", "status": "False", "message": 'ReplicaSet "web-1" has timed out progressing.'}
QUOTA = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods=2"}


def workload(kind: str, spec: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": "web", "generation": 2},
        "spec": spec,
        "status": {"observedGeneration": 2, **status},
    }


def deployment(**status: Any) -> dict[str, Any]:
    return workload("Deployment", {"replicas": 2}, **status)


def pod(*, conditions: Any = (SCHEDULED,), **status: Any) -> dict[str, Any]:
    return {**POD, "status": {"phase": "Pending", "conditions": list(conditions), **status}}


def container(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "web", "state": state, "ready": False, **more}]}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (deployment(observedGeneration=1), "its controller has not seen it yet"),
        (deployment(replicas=2, updatedReplicas=1), "1 of 2 pods are of this version"),
        (deployment(replicas=3, updatedReplicas=2), "1 pods of another version still run"),
        (deployment(replicas=2, updatedReplicas=2, availableReplicas=1), "1 of 2 pods are available"),
        (deployment(replicas=2, updatedReplicas=2, availableReplicas=2), ""),
        (workload("Deployment", {"replicas": 0}), ""),
        (workload("StatefulSet", {"replicas": 3}, replicas=3, updatedReplicas=1), "1 of 3 pods are of this version"),
        (workload("StatefulSet", {"replicas": 1}, replicas=1, updatedReplicas=1, availableReplicas=1), ""),
        (
            workload("StatefulSet", {"replicas": 1, "updateStrategy": {"type": "OnDelete"}}, availableReplicas=1),
            "",
        ),
        (workload("DaemonSet", {}, desiredNumberScheduled=2, updatedNumberScheduled=1), "1 of 2 pods are of this"),
        (
            workload("DaemonSet", {}, desiredNumberScheduled=2, updatedNumberScheduled=2, numberAvailable=1),
            "1 of 2 pods are available",
        ),
        (workload("DaemonSet", {}, desiredNumberScheduled=0), ""),
        (workload("Job", {"completions": 3}, succeeded=1), "1 of 3 pods have ended well"),
        (workload("Job", {}, conditions=[{"type": "Complete", "status": "True"}]), ""),
        (workload("Job", {"suspend": True}), ""),
        ({"kind": "ConfigMap", "metadata": {"name": "a"}}, ""),
    ],
)
def test_what_is_still_to_come_is_told(body: dict[str, Any], told: str) -> None:
    assert waits_for(body).startswith(told)
    assert bool(waits_for(body)) == bool(told)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (
            pod(
                conditions=[{"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available: memory."}]
            ),
            "has no node: 0/2 nodes are available: memory.",
        ),
        (pod(conditions=[]), "nobody has chosen a node for it yet"),
        (pod(**container({"waiting": {"reason": "ContainerCreating"}})), "is being started on its node"),
        (
            pod(**container({"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "a"'}})),
            'container web waits: ImagePullBackOff: Back-off pulling image "a"',
        ),
        (
            pod(
                **container(
                    {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                    lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                    restartCount=4,
                )
            ),
            "container web ends again and again: it ended with status 137 (OOMKilled), 4 times started anew",
        ),
        (pod(**container({"running": {}})), "container web runs and does not pass its readiness probe"),
        (
            pod(**container({"terminated": {"exitCode": 2, "reason": "Error"}})),
            "container web: it ended with status 2",
        ),
        (pod(phase="Failed", message="Pod was evicted"), "failed: Pod was evicted"),
    ],
)
def test_the_pod_that_is_not_ready_says_why(status: dict[str, Any], said: str) -> None:
    told = why(deployment(replicas=2, updatedReplicas=2, availableReplicas=1), [status])
    assert told == f"1 of 2 pods are available: pod web-1: {said}"


def test_the_newest_pod_says_why_and_ready_ones_say_nothing() -> None:
    ready = {**POD, "status": {"phase": "Running", "conditions": [SCHEDULED, {"type": "Ready", "status": "True"}]}}
    ready = {**ready, "metadata": {"name": "web-3", "creationTimestamp": "2026-11-28T14:00:00Z"}}
    newer = {**pod(), "metadata": {"name": "web-2", "creationTimestamp": "2026-11-28T13:00:00Z"}}
    leaving = {
        **pod(),
        "metadata": {"name": "web-4", "creationTimestamp": "2026-11-28T15:00:00Z", "deletionTimestamp": "x"},
    }
    assert "pod web-2: is being started" in why(deployment(), [pod(conditions=[]), newer, ready, leaving])


@pytest.mark.parametrize(
    ("condition", "said"), [(QUOTA, "exceeded quota: pods=2"), (LATE, "has timed out progressing.")]
)
def test_without_a_pod_the_workload_says_why(condition: dict[str, str], said: str) -> None:
    assert why(deployment(conditions=[condition]), []).endswith(said)


def test_it_is_known_when_nothing_more_will_come() -> None:
    assert gave_up(deployment(conditions=[LATE]))
    assert not gave_up(deployment(conditions=[QUOTA]))
    assert gave_up(workload("Job", {}, conditions=[{"type": "Failed", "status": "True"}]))
    assert not gave_up(workload("Job", {}))
