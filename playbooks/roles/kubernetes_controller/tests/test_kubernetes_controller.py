# ruff: noqa: D103  a test says in its name what would be broken
"""What the controller of a site's Kubernetes cluster must show."""

from typing import Any

import pytest
from testinfra.host import Host

KUBECTL = "kubectl --kubeconfig=/etc/kubernetes/admin.kubeconfig"


@pytest.mark.parametrize("unit", ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"])
def test_the_cluster_s_programs_run_and_start_again_by_themselves(host: Host, unit: str) -> None:
    assert host.service(unit).is_running
    assert host.service(unit).is_enabled
    assert host.check_output("systemctl show %s -p Restart --value", unit) == "always"


def test_the_api_server_is_ready(host: Host) -> None:
    assert host.check_output(f"{KUBECTL} get --raw /readyz") == "ok"


def test_the_workers_are_those_of_the_definition(host: Host, arguments: dict[str, Any]) -> None:
    known = host.check_output(f"{KUBECTL} get nodes -o name").split()
    assert {name.removeprefix("node/") for name in known} <= set(arguments["kubernetes_controller_workers"])


def test_nobody_but_this_host_reaches_etcd(host: Host) -> None:
    listening = host.check_output("ss -Hltn '( sport = 2379 or sport = 2380 )'").splitlines()
    assert {line.split()[3].rpartition(":")[0] for line in listening} == {"127.0.0.1"}


def test_etcd_can_be_saved(host: Host) -> None:
    assert host.run("systemctl start etcd-snapshot.service").rc == 0
    assert host.run("ls /var/lib/etcd/snapshots/*.db").rc == 0


def test_the_administrator_s_key_is_root_s(host: Host) -> None:
    assert host.check_output("stat -c '%U %G %a' /etc/kubernetes/pki/admin.key") == "root root 640"
