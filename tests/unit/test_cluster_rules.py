"""What a cluster is given by itself, as a real API server holds to it: who may do what, and which images."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pachon.drivers.kubernetes import Access, Cluster
from pachon.errors import PermanentError
from pachon.layers.cluster_rules import rules_of
from pachon.layers.clusters import Looking, attempt
from pachon.model.cluster_object import KINDS, Body, ClusterObject
from pachon.model.facility import Facility, Person, Site
from tests.api_server import api_server, logged_in

pytestmark = pytest.mark.timeout(3000)

OWNED = "lab.here"
DIGEST = "registry.test/web@sha256:" + "a" * 64
TAG = "registry.test/web:1"
MOST_SECONDS = 120.0


def person(name: str, *enclaves: str, sudo: tuple[str, ...] = ("/usr/bin/true",)) -> Person:
    return Person(name=name, title=name, uid=10001, sudo=sudo, enclaves=enclaves)


PEOPLE = (person("ana", "alpha"), person("ben", "beta"), person("eva", "alpha", sudo=()))


def rules(*enclaves: str, kubeconfig: str = "") -> tuple[ClusterObject, ...]:
    """What the cluster is given for these enclaves."""
    facility = Facility.model_construct(name="lab", people=PEOPLE)
    site = Site.model_construct(name="here", kubeconfig=kubeconfig)
    return rules_of(facility, site, enclaves=enclaves, owner=OWNED)


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    """A cluster with two enclaves, in which the policy has come to hold."""
    with api_server() as made:
        cluster = Cluster("here", made)
        looking = Looking("here", OWNED, cluster)
        works = looking.look(rules("alpha", "beta")).works
        assert not attempt(cluster, works, forced=(), told=lambda work, failed: None).failed
        assert looking.look(rules("alpha", "beta")).is_done
        until(lambda: "by tag" in refusal(cluster, pods("Pod", image=TAG)))
        yield made
        cluster.close()


@pytest.fixture
def cluster(access: Access) -> Iterator[Cluster]:
    made = Cluster("here", access)
    yield made
    made.close()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + MOST_SECONDS
    while not true():
        assert time.monotonic() < end, "it has not come to hold"
        time.sleep(0.1)


def pods(kind: str, *, image: str, group: str = "containers") -> dict[str, Any]:
    """An object that has or makes pods, one of whose containers has this image."""
    spec: dict[str, Any] = {"containers": [{"name": "web", "image": DIGEST}], "restartPolicy": "Always"}
    if group == "containers":
        spec["containers"][0]["image"] = image
    else:
        spec[group] = [{"name": "other", "image": image}]
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": spec}
    if kind in ("Job", "CronJob"):
        spec["restartPolicy"] = "Never"
    whole: dict[str, Any] = {"kind": kind, "metadata": {"name": "web"}}
    match kind:
        case "Pod":
            return {**whole, "spec": spec}
        case "PodTemplate":
            return {**whole, "template": template}
        case "Job":
            return {**whole, "spec": {"template": template}}
        case "CronJob":
            return {**whole, "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": template}}}}
        case "ReplicationController":
            return {**whole, "spec": {"selector": labels, "template": template}}
        case _:
            return {**whole, "spec": {"selector": {"matchLabels": labels}, "template": template}}


PATHS = {
    "PodTemplate": "/api/v1/namespaces/{}/podtemplates",
    "ReplicaSet": "/apis/apps/v1/namespaces/{}/replicasets",
    "ReplicationController": "/api/v1/namespaces/{}/replicationcontrollers",
}
MAKING = ("CronJob", "DaemonSet", "Deployment", "Job", "Pod", "StatefulSet", *PATHS)


def post(cluster: Cluster, body: Body, *, namespace: str = "alpha", dry: bool = True) -> None:
    kind = str(body["kind"])
    path = PATHS[kind].format(namespace) if kind in PATHS else KINDS[kind].path(namespace)
    cluster._ask("POST", path, {"dryRun": "All"} if dry else {}, body)


def refusal(cluster: Cluster, body: Body, *, namespace: str = "alpha") -> str:
    """What the API server says against it; nothing if it takes it."""
    try:
        post(cluster, body, namespace=namespace)
    except PermanentError as error:
        return error.message
    return ""


@pytest.mark.parametrize("kind", MAKING)
def test_an_image_by_tag_is_refused_with_its_cure_and_by_digest_taken(kind: str, cluster: Cluster) -> None:
    for group in ("containers", "initContainers"):
        said = refusal(cluster, pods(kind, image=TAG, group=group))
        assert f"by tag, which may be moved: {TAG}; write each image as NAME@sha256:DIGEST" in said, (group, said)
        assert refusal(cluster, pods(kind, image=DIGEST, group=group)) == ""


@pytest.mark.parametrize("image", ["web", "web@sha256:abc", f"{DIGEST}0", "a@b@sha256:" + "a" * 64])
def test_what_only_looks_like_a_digest_is_refused(image: str, cluster: Cluster) -> None:
    assert refusal(cluster, pods("Deployment", image=image))


def test_the_systems_namespaces_are_left_alone_and_all_others_are_not(cluster: Cluster) -> None:
    assert refusal(cluster, pods("Pod", image=TAG), namespace="kube-system") == ""
    assert refusal(cluster, pods("Pod", image=TAG), namespace="default")


def test_a_container_that_joins_a_pod_later_is_held_to_it_too(cluster: Cluster) -> None:
    post(cluster, {**pods("Pod", image=DIGEST), "metadata": {"name": "stands"}}, dry=False)
    path = KINDS["Pod"].path("alpha", "stands") + "/ephemeralcontainers"

    def join(image: str) -> None:
        body = {"spec": {"ephemeralContainers": [{"name": "look", "image": image}]}}
        cluster._ask("PATCH", path, {}, body, content="application/strategic-merge-patch+json")

    with pytest.raises(PermanentError, match=r"by tag, which may be moved: registry\.test/web:1"):
        join(TAG)
    join(DIGEST)


def test_what_had_a_tag_before_can_still_be_let_go_but_not_moved_to_another(cluster: Cluster) -> None:
    policy = KINDS["ValidatingAdmissionPolicyBinding"]
    binding = next(each for each in rules("alpha") if each.kind == policy.kind)
    cluster._ask("DELETE", policy.path("", binding.name))
    held = pods("Pod", image=TAG)
    held["metadata"] = {"name": "old", "finalizers": ["pachon.test/hold"]}
    until(lambda: not refusal(cluster, held))
    post(cluster, held, dry=False)
    cluster.apply(binding)
    until(lambda: "by tag" in refusal(cluster, pods("Pod", image=TAG)))
    path, merge = KINDS["Pod"].path("alpha", "old"), "application/strategic-merge-patch+json"
    moved = {"spec": {"containers": [{"name": "web", "image": "registry.test/web:2"}]}}
    with pytest.raises(PermanentError, match="web:2"):
        cluster._ask("PATCH", path, {}, moved, content=merge)
    cluster._ask("PATCH", path, {}, {"metadata": {"finalizers": None}}, content="application/merge-patch+json")


def test_an_existing_cluster_is_bound_in_our_own_namespaces_only() -> None:
    binding = next(each for each in rules("alpha", kubeconfig="k") if each.kind == "ValidatingAdmissionPolicyBinding")
    where = binding.body["spec"]["matchResources"]["namespaceSelector"]
    assert where == {"matchLabels": {"pachon/owner": OWNED}}


def may(cluster: Cluster, verb: str, resource: str, namespace: str, group: str = "") -> bool:
    """Whether the API server would let this one do it."""
    name, _, part = resource.partition("/")
    asked = {"verb": verb, "resource": name, "subresource": part, "namespace": namespace, "group": group}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    said = cluster._ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {}, body)
    return bool(said["status"]["allowed"])


RBAC = "rbac.authorization.k8s.io"


def test_operators_may_do_all_in_their_namespace_but_what_guards_it_and_nothing_beyond(access: Access) -> None:
    ana = Cluster("here", logged_in(access, "person:ana"))
    post(ana, pods("Deployment", image=DIGEST))
    assert refusal(ana, pods("Pod", image=TAG)).count("by tag") == 1
    with pytest.raises(PermanentError, match=r'cannot create resource "deployments".* in the namespace "beta"'):
        post(ana, pods("Deployment", image=DIGEST), namespace="beta")
    allowed = [("create", "pods/exec", ""), ("get", "pods/log", ""), ("patch", "deployments/scale", "apps")]
    allowed += [("delete", "jobs", "batch"), ("update", "configmaps", ""), ("list", "rolebindings", RBAC)]
    guarded = [(verb, "secrets", "") for verb in ("create", "get", "list", "watch")]
    guarded += [(verb, kind, RBAC) for verb in ("create", "patch", "delete") for kind in ("roles", "rolebindings")]
    guarded += [("bind", "roles", RBAC), ("escalate", "roles", RBAC), ("impersonate", "serviceaccounts", "")]
    guarded += [("create", "serviceaccounts/token", ""), ("patch", "namespaces", ""), ("delete", "resourcequotas", "")]
    for verb, resource, group in allowed:
        assert may(ana, verb, resource, "alpha", group), (verb, resource)
        assert not may(ana, verb, resource, "beta", group), (verb, resource)
    for verb, resource, group in guarded:
        assert not may(ana, verb, resource, "alpha", group), (verb, resource)
    assert not may(ana, "list", "pods", "") and not may(ana, "get", "nodes", "")
    ana.close()


def test_an_account_on_its_hosts_alone_makes_nobody_an_operator_of_an_enclave(access: Access) -> None:
    eva = Cluster("here", logged_in(access, "person:eva"))
    assert not may(eva, "get", "pods", "alpha")
    eva.close()


def test_who_is_no_operator_any_more_has_no_rights_and_what_no_enclave_needs_goes(cluster: Cluster) -> None:
    looking = Looking("here", OWNED, cluster)
    left = [each for each in rules("alpha", "beta") if each.namespace != "beta"]
    gone = {(work.verb, work.key) for work in looking.look(left).works}
    assert gone == {("delete", (kind, "beta", "pachon:operators")) for kind in ("Role", "RoleBinding")}


def test_without_a_service_a_cluster_is_given_nothing() -> None:
    assert rules() == ()
