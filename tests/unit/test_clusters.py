"""The cluster's driver and layer against a real API server."""

import dataclasses
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pachon.drivers import kubernetes
from pachon.drivers.kubernetes import AbsentError, Access, Cluster, ConflictError
from pachon.errors import PermanentError, TemporaryError
from pachon.model.cluster_object import KINDS, OWNER, ClusterObject, namespace_object, object_of
from tests.api_server import api_server

pytestmark = pytest.mark.timeout(3000)

OWNED = "lab.here"
IMAGE = "registry.test/web@sha256:" + "a" * 64
DEPLOYMENT, CONFIG_MAP = KINDS["Deployment"], KINDS["ConfigMap"]
NUMBERS = count(1)


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with api_server() as made:
        yield made


@pytest.fixture(scope="module")
def cluster(access: Access) -> Iterator[Cluster]:
    made = Cluster("here", access)
    yield made
    made.close()


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A namespace of this test's own."""
    made = namespace_object(f"enclave-{next(NUMBERS)}", owner="nobody")
    cluster.apply(made)
    return made.name


def deployment(namespace: str, *, replicas: int = 2, **spec: Any) -> ClusterObject:
    labels = {"app": "web"}
    container = {"name": "web", "image": IMAGE, "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    written = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec}
    return object_of(
        {"kind": "Deployment", "metadata": {"name": "web"}, "spec": written},
        owner=OWNED,
        service="portal",
        namespace=namespace,
    )


def config_map(namespace: str, name: str, **data: str) -> ClusterObject:
    body = {"kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    return object_of(body, owner=OWNED, service="portal", namespace=namespace)


@pytest.fixture
def stranger(access: Access, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Applies an object as somebody else, who takes all its fields."""

    def apply(wanted: ClusterObject) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(kubernetes, "FIELD_MANAGER", "somebody")
            cluster = Cluster("here", access)
            cluster.apply(wanted, force=True)
            cluster.close()

    return apply


def test_a_preview_tells_what_would_be_and_changes_nothing(cluster: Cluster, namespace: str) -> None:
    wanted = deployment(namespace)
    seen = cluster.preview(wanted)
    assert seen["spec"]["template"]["spec"]["restartPolicy"] == "Always"  # as the API server fills it in
    assert cluster.read(DEPLOYMENT, namespace, "web") is None
    assert cluster.apply(wanted)["spec"] == seen["spec"]


def test_fields_of_somebody_else_are_named_and_left_alone(cluster: Cluster, namespace: str, stranger: Any) -> None:
    cluster.apply(deployment(namespace))
    stranger(deployment(namespace, replicas=5))
    with pytest.raises(ConflictError, match=r"web: somebody has set .*spec\.replicas.*approve") as raised:
        cluster.apply(deployment(namespace, replicas=3))
    (conflict,) = raised.value.conflicts
    assert (conflict.manager, "spec.replicas" in conflict.fields) == ("somebody", True)
    assert (cluster.read(DEPLOYMENT, namespace, "web") or {})["spec"]["replicas"] == 5
    assert cluster.apply(deployment(namespace, replicas=3), force=True)["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"bogus": 1}, "field not declared in schema"),
        ({"paused": "perhaps"}, "perhaps"),
        ({"replicas": -1}, "replicas"),
    ],
)
def test_what_is_no_such_object_is_refused_for_good(cluster: Cluster, namespace: str, spec: Any, said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        cluster.preview(deployment(namespace, **{"replicas": 2, **spec}))


def test_a_namespace_that_is_not_there_is_told(cluster: Cluster) -> None:
    with pytest.raises(AbsentError, match='namespaces "nowhere" not found'):
        cluster.preview(config_map("nowhere", "a"))


def test_objects_are_listed_by_owner_page_by_page(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "PAGE", 3)
    for number in range(8):
        cluster.apply(config_map(namespace, f"a-{number}"))
    cluster.apply(object_of({"kind": "ConfigMap", "metadata": {"name": "other"}}, owner="else", namespace=namespace))
    found = cluster.listed(CONFIG_MAP, labels=f"{OWNER}={OWNED}", namespace=namespace)
    assert [each["metadata"]["name"] for each in found] == [f"a-{number}" for number in range(8)]
    assert {(each["apiVersion"], each["kind"]) for each in found} == {("v1", "ConfigMap")}


def test_only_the_very_object_is_deleted(cluster: Cluster, namespace: str) -> None:
    uid = cluster.apply(config_map(namespace, "a"))["metadata"]["uid"]
    with pytest.raises(TemporaryError, match="precondition"):
        cluster.delete(CONFIG_MAP, namespace, "a", uid="another")
    cluster.delete(CONFIG_MAP, namespace, "a", uid=uid)
    assert cluster.read(CONFIG_MAP, namespace, "a") is None
    cluster.delete(CONFIG_MAP, namespace, "a", uid=uid)  # it is gone, which is what was wanted


def test_who_has_no_rights_is_told_so(access: Access, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig(access, token="nobody"))
    cluster = Cluster("existing", path)
    with pytest.raises(PermanentError, match=r"cluster existing: Unauthorized; see the certificate or token"):
        cluster.ready()
    cluster.close()


def kubeconfig(access: Access, *, token: str = "") -> str:
    user = f"{{token: {token}}}" if token else f"{{client-certificate: {access.certificate}, client-key: {access.key}}}"
    return (
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        f"clusters: [{{name: c, cluster: {{server: '{access.server}', certificate-authority: {access.authority}}}}}]\n"
        f"users: [{{name: u, user: {user}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
    )


def test_an_existing_cluster_is_reached_by_its_kubeconfig(access: Access, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig(access))
    cluster = Cluster("existing", path)
    cluster.ready()
    cluster.close()


@pytest.mark.parametrize("text", ["", "a: [", "kind: Config\n"])
def test_a_kubeconfig_that_is_none_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(PermanentError, match=r"the kubeconfig .*/kubeconfig cannot be used"):
        Cluster("existing", path)


def test_a_server_that_does_not_answer_may_answer_later(access: Access) -> None:
    cluster = Cluster("here", dataclasses.replace(access, server="https://127.0.0.1:1"))
    with pytest.raises(TemporaryError, match="its API server does not answer"):
        cluster.ready()
    cluster.close()


def test_threads_share_a_cluster(cluster: Cluster, namespace: str) -> None:
    names = [f"t-{number}" for number in range(16)]
    threads = [threading.Thread(target=cluster.apply, args=(config_map(namespace, name),)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cluster.listed(CONFIG_MAP, namespace=namespace, labels=f"{OWNER}={OWNED}")) == 16
