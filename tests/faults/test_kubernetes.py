"""A Kubernetes cluster on real hosts: pods talk over workers, nothing is played twice, what a kill left is finished.

Only ``make faults`` runs it: a lab of its own, with an image that no other test needs, costs CI too much. What
clusters are told is tried in every run, on a real API server without hosts (``tests/api_server.py``).
"""

import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e import making
from tests.e2e.rig import Rig, at, rig

pytestmark = [
    pytest.mark.faults,
    pytest.mark.real,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(os.environ.get("PACHON_FAULTS") != "all", reason="'make faults': a lab of its own"),
]

NAME = "t-kube"
NETWORK = "198.19.208"
CONTROLLER, FIRST, SECOND = (making.host(NAME, number) for number in (2, 3, 4))
WORKERS = (FIRST, SECOND)
WAIT_SECONDS = 300.0
BUSYBOX = "pachon.local/pause:1"
"""The one container that every worker has from the start; what it holds is a busybox."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Rig]:
    """A controller and two workers behind a switch, up."""
    with rig(NAME) as made:
        making.cluster(made.definition, name=NAME, network=NETWORK)
        made.pachon("up")
        yield made


def kubectl(cluster: Rig, *words: str) -> str:
    command = shlex.join(["kubectl", "--kubeconfig=/etc/kubernetes/admin.kubeconfig", *words])
    return cluster.ssh(CONTROLLER, f"sudo {command}")


def ready(cluster: Rig) -> dict[str, str]:
    """Whether each node is ready, in the cluster's words."""
    nodes = json.loads(kubectl(cluster, "get", "nodes", "-o", "json"))["items"]
    return {
        node["metadata"]["name"]: condition["status"]
        for node in nodes
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    }


def wait(what: str, true: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < until, what
        time.sleep(1.0)


def pod(node: str) -> dict[str, Any]:
    """A pod on that node that answers over HTTP with the node's name."""
    serve = f"mkdir -p /tmp/w && echo {node} >/tmp/w/index.html && exec /busybox httpd -f -p 8080 -h /tmp/w"
    container = {
        "name": "web",
        "image": BUSYBOX,
        "imagePullPolicy": "Never",
        "command": ["/busybox", "sh", "-c", serve.replace("mkdir", "/busybox mkdir")],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"web-{node}", "labels": {"app": "web"}},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


@pytest.fixture(scope="module")
def addresses(cluster: Rig) -> dict[str, str]:
    """Addresses of a web pod on each worker, and under ``service`` of both together."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": [*(pod(node) for node in WORKERS), service]})
    cluster.ssh(
        CONTROLLER,
        f"echo {shlex.quote(listed)} | sudo kubectl --kubeconfig=/etc/kubernetes/admin.kubeconfig apply -f -",
    )
    kubectl(cluster, "wait", "--for=condition=Ready", "pods", "-l", "app=web", "--timeout=300s")
    pods = json.loads(kubectl(cluster, "get", "pods", "-l", "app=web", "-o", "json"))["items"]
    found = {each["spec"]["nodeName"]: each["status"]["podIP"] for each in pods}
    return {**found, "service": kubectl(cluster, "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}").strip()}


def from_pod(cluster: Rig, node: str, *command: str) -> str:
    """What a command of busybox printed within the pod on that node."""
    return kubectl(cluster, "exec", f"web-{node}", "--", "/busybox", *command)


FETCH = 'printf "GET / HTTP/1.0\\r\\n\\r\\n" | /busybox timeout 20 /busybox nc {} {}'
"""busybox' wget dies of how it is linked; nc does not."""


def fetched(cluster: Rig, node: str, address: str, port: int) -> str:
    """The last line of what a web server answered to a pod on that node."""
    return from_pod(cluster, node, "sh", "-c", FETCH.format(address, port)).split()[-1]


def test_every_worker_is_ready(cluster: Rig) -> None:
    wait("nodes are ready", lambda: ready(cluster) == dict.fromkeys(WORKERS, "True"))


@pytest.mark.parametrize("source", WORKERS)
@pytest.mark.parametrize("target", WORKERS)
def test_pods_reach_pods_of_every_worker(cluster: Rig, addresses: dict[str, str], source: str, target: str) -> None:
    assert fetched(cluster, source, addresses[target], 8080) == target


@pytest.mark.parametrize("source", WORKERS)
def test_pods_reach_services(cluster: Rig, addresses: dict[str, str], source: str) -> None:
    assert fetched(cluster, source, addresses["service"], 80) in WORKERS


@pytest.mark.parametrize("source", WORKERS)
def test_pods_learn_addresses_of_services_by_name(cluster: Rig, addresses: dict[str, str], source: str) -> None:
    kubectl(cluster, "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=300s")
    said = from_pod(cluster, source, "nslookup", "web.default.svc.cluster.local")
    assert addresses["service"] in said


def test_a_second_up_plays_nothing_and_finds_no_drift(cluster: Rig, addresses: dict[str, str]) -> None:
    plan = cluster.ask("plan")
    assert (plan["waves"], plan["envelopes"], list(plan["counts"])) == ([], [], ["none"])
    report = cluster.ask("up")
    assert {host["done"] for host in report["hosts"]} == {"unchanged"}


def test_etcd_is_saved_and_a_snapshot_can_be_restored(cluster: Rig) -> None:
    cluster.ssh(CONTROLLER, "sudo systemctl start etcd-snapshot.service")
    restore = "etcdutl snapshot restore $(ls /var/lib/etcd/snapshots/*.db | tail -n 1) --data-dir /tmp/restored"
    cluster.ssh(CONTROLLER, f"sudo sh -c 'rm -rf /tmp/restored; {restore} && test -e /tmp/restored/member/snap/db'")


def test_what_a_killed_play_left_is_finished(cluster: Rig) -> None:
    cluster.ssh(FIRST, "sudo rm /etc/kubernetes/kubelet.yaml && sudo rm /etc/cni/net.d/10-pachon.conflist")
    cluster.kill_at(at("hosts", address=FIRST, state="started"))
    cluster.pachon("up")
    wait("nodes are ready", lambda: ready(cluster) == dict.fromkeys(WORKERS, "True"))
    assert cluster.ask("plan")["waves"] == []


def test_a_worker_that_is_given_up_is_forgotten_and_comes_back(cluster: Rig) -> None:
    file = cluster.definition / "sites" / "here" / "site.yaml"
    kept = file.read_text()
    making.drop_host(cluster.definition, SECOND)
    cluster.pachon("up", "--destroy", f"here/host/{SECOND}")
    assert ready(cluster) == {FIRST: "True"}
    file.write_text(kept)
    cluster.pachon("up")
    wait("nodes are ready", lambda: ready(cluster) == dict.fromkeys(WORKERS, "True"))
    assert cluster.ask("plan")["waves"] == []
