# ruff: noqa: D103  a test says in its name what would be broken
"""What a worker of a site's Kubernetes cluster must show."""

from typing import Any

import pytest
from testinfra.host import Host


@pytest.mark.parametrize("unit", ["containerd", "kubelet", "kube-proxy", "kubernetes-pods"])
def test_the_worker_s_programs_run_and_start_again_by_themselves(host: Host, unit: str) -> None:
    assert host.service(unit).is_running
    assert host.service(unit).is_enabled
    assert host.check_output("systemctl show %s -p Restart --value", unit) == "always"


def test_the_cluster_takes_this_worker_for_ready(host: Host, arguments: dict[str, Any]) -> None:
    said = host.check_output(
        "kubectl --kubeconfig=/etc/kubernetes/kubelet.kubeconfig get node %s "
        "-o jsonpath='{.status.conditions[?(@.type==\"Ready\")].status}'",
        arguments["kubernetes_worker_name"],
    )
    assert said == "True"


def test_containers_of_the_image_are_known(host: Host) -> None:
    assert "pachon.local/pause:1" in host.check_output("ctr --namespace k8s.io images list --quiet").split()


def test_pods_are_forwarded_to_and_hidden_outside(host: Host) -> None:
    assert host.sysctl("net.ipv4.ip_forward") == 1
    assert "masquerade" in host.check_output("nft list table ip pachon-hidden")
