"""The cluster's driver and layer against a real API server."""

import dataclasses
import threading
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pachon.drivers import kubernetes
from pachon.drivers.kubernetes import AbsentError, Access, Cluster, ConflictError
from pachon.errors import PermanentError, TemporaryError
from pachon.layers.awaiting import until_rolled_out
from pachon.layers.clusters import Attempt, ClusterSight, Granted, Looking, attempt
from pachon.model.cluster_object import KINDS, OWNER, ClusterObject, namespace_object, object_of
from pachon.progress import Event, silent
from tests.api_server import api_server, kubeconfig

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


@pytest.fixture
def looking(cluster: Cluster) -> Looking:
    """Looks for what has an owner of this test's own."""
    return Looking("here", f"lab.here-{next(NUMBERS)}", cluster)


def owned(looking: Looking, each: ClusterObject) -> ClusterObject:
    """The object as one of that owner's."""
    metadata = {key: each.body["metadata"][key] for key in ("name",)}
    manifest = {**each.body, "metadata": metadata}
    return object_of(manifest, owner=looking.owner, service="portal", namespace=each.namespace)


def brought_about(looking: Looking, *wanted: ClusterObject, forced: tuple[str, ...] = ()) -> Attempt:
    works = looking.look(wanted).works
    made = attempt(looking.cluster, works, forced=forced, told=lambda work, failed: None)
    assert not made.failed
    return made


def told(sight: ClusterSight) -> list[tuple[str, str]]:
    return [(work.verb, work.address.split("/", 2)[2]) for work in sight.works]


def test_what_is_not_there_is_created_with_its_namespace_first(looking: Looking) -> None:
    space = f"fresh-{next(NUMBERS)}"
    wanted = [
        owned(looking, deployment(space)),
        owned(looking, config_map(space, "a")),
        namespace_object(space, owner=looking.owner),
    ]
    sight = looking.look(wanted)
    assert told(sight) == [
        ("create", f"configmap/{space}.a"),
        ("create", f"deployment/{space}.web"),
        ("create", f"namespace/{space}"),
    ]
    brought_about(looking, *wanted)
    again = looking.look(wanted)
    assert (again.works, len(again.same)) == ((), 3)
    assert again.waiting == {f"here/object/deployment/{space}.web": "its controller has not seen it yet"}


def test_what_differs_is_told_field_by_field_as_the_api_server_says(looking: Looking, namespace: str) -> None:
    brought_about(looking, owned(looking, deployment(namespace)))
    (work,) = looking.look([owned(looking, deployment(namespace, replicas=3, paused=True))]).works
    assert (work.verb, work.reason) == ("update", "its manifest changed")
    assert [(each.key, each.before, each.after) for each in work.differences] == [
        ("spec.paused", None, True),
        ("spec.replicas", 2, 3),
    ]


def test_what_others_changed_of_ours_is_seen_and_put_right(looking: Looking, namespace: str, stranger: Any) -> None:
    wanted = owned(looking, config_map(namespace, "a", greeting="hello"))
    brought_about(looking, wanted)
    looking.cluster.preview(wanted)
    stranger(wanted.model_copy(update={"body": {**wanted.body, "data": {"greeting": "bye", "more": "theirs"}}}))
    (work,) = looking.look([wanted]).works
    assert [(each.key, each.before, each.after) for each in work.differences] == [("data.greeting", "bye", "hello")]
    assert work.reason.startswith(
        "it was changed in the cluster; fields would be taken: somebody has set data.greeting"
    )
    address = work.address
    refused = attempt(looking.cluster, [work], forced=(), told=lambda work, failed: None)
    assert isinstance(refused.failed[address], ConflictError)
    brought_about(looking, wanted, forced=(address,))
    assert looking.look([wanted]).works == ()
    assert (looking.cluster.read(CONFIG_MAP, namespace, "a") or {})["data"]["more"] == "theirs"


def test_what_no_manifest_has_any_more_is_removed_and_what_is_not_ours_stays(looking: Looking, namespace: str) -> None:
    looking.cluster.apply(config_map(namespace, "of-another-owner"))
    kept, dropped = (owned(looking, config_map(namespace, name)) for name in ("kept", "dropped"))
    brought_about(looking, kept, dropped)
    (work,) = looking.look([kept]).works
    assert (work.verb, work.wanted) == ("delete", None)
    assert brought_about(looking, kept).removed == (work.address,)
    assert looking.look([kept]).works == ()
    left = {each["metadata"]["name"] for each in looking.cluster.listed(CONFIG_MAP, namespace=namespace)}
    assert left == {"kept", "of-another-owner"}


def test_what_the_api_server_does_not_take_is_unknown_with_its_words(looking: Looking, namespace: str) -> None:
    brought_about(looking, owned(looking, deployment(namespace)))
    (work,) = looking.look([owned(looking, deployment(namespace, selector={"matchLabels": {"app": "x"}}))]).works
    assert work.verb == "unknown"
    assert "`selector` does not match template `labels`" in work.reason or "immutable" in work.reason


def test_one_that_fails_does_not_keep_back_the_others(looking: Looking, namespace: str) -> None:
    bad = owned(looking, config_map("nowhere", "a"))
    good = owned(looking, config_map(namespace, "b"))
    made = attempt(looking.cluster, looking.look([bad, good]).works, forced=(), told=lambda work, failed: None)
    assert list(made.failed) == ["here/object/configmap/nowhere.a"]
    assert list(made.applied) == [f"here/object/configmap/{namespace}.b"]


def test_a_plan_that_does_not_hold_it_keeps_it_back(looking: Looking, namespace: str) -> None:
    wanted = owned(looking, config_map(namespace, "a"))
    (create,) = looking.look([wanted]).works
    assert Granted(given={create.address: create.given}).refuses(create) == ""
    assert "does not hold" in Granted(given={}).refuses(create)
    brought_about(looking, wanted)
    (delete,) = looking.look([]).works
    assert "does not hold" in Granted(given={delete.address: delete.given}).refuses(delete)
    assert Granted(given={}, removed={delete.address: delete.given}).refuses(delete) == ""


def test_the_same_is_the_same_fact_and_what_was_changed_is_another(looking: Looking, namespace: str) -> None:
    wanted = owned(looking, config_map(namespace, "a", greeting="hello"))
    first = looking.look([wanted]).condition
    assert looking.look([wanted]).condition == first
    brought_about(looking, wanted)
    assert looking.look([wanted]).condition != first


def controllers_say(access: Access, each: ClusterObject, **status: Any) -> None:
    """Write a status as the cluster's controllers would."""
    cluster = Cluster("here", access)
    path = KINDS[each.kind].path(each.namespace, each.name)
    body = {"status": status}
    cluster._ask("PATCH", f"{path}/status", {}, body, content="application/merge-patch+json")
    cluster.close()


def a_pod(namespace: str) -> ClusterObject:
    spec = {"containers": [{"name": "web", "image": IMAGE}]}
    body = {"kind": "Pod", "metadata": {"name": "web-1", "labels": {"app": "web"}}, "spec": spec}
    return object_of(body, owner="controllers", namespace=namespace)


def test_what_is_waited_for_says_why_until_it_is_there(looking: Looking, namespace: str, access: Access) -> None:
    wanted = owned(looking, deployment(namespace))
    brought_about(looking, wanted)
    address = f"here/object/deployment/{namespace}.web"
    keys = {address: wanted.key, "here/object/configmap/a": ("ConfigMap", namespace, "a")}
    heard: list[str] = []

    def hear(event: Event) -> None:
        """The controllers go on each time something was told."""
        heard.append(f"{event.state}: {event.message}")
        if len(heard) == 1:
            unschedulable = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
            looking.cluster.apply(a_pod(namespace))
            controllers_say(access, a_pod(namespace), phase="Pending", conditions=[unschedulable])
            controllers_say(access, wanted, observedGeneration=1, replicas=2, updatedReplicas=2)
        elif len(heard) == 2:
            controllers_say(
                access,
                wanted,
                observedGeneration=1,
                replicas=2,
                updatedReplicas=2,
                readyReplicas=2,
                availableReplicas=2,
            )

    assert until_rolled_out(looking.cluster, keys, hear) == {}
    assert heard == [
        "moving: waits: its controller has not seen it yet",
        "moving: waits: 0 of 2 pods are available: pod web-1: has no node: 0/1 nodes are available",
        "done: rolled out",
    ]


def test_what_does_not_come_is_told_with_its_reason(looking: Looking, namespace: str, access: Access) -> None:
    wanted = owned(looking, deployment(namespace))
    brought_about(looking, wanted)
    keys = {f"here/object/deployment/{namespace}.web": wanted.key}
    assert until_rolled_out(looking.cluster, keys, silent, patience=timedelta()) == {
        f"here/object/deployment/{namespace}.web": "its controller has not seen it yet"
    }
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "has timed out"}
    controllers_say(access, wanted, observedGeneration=1, conditions=[late])
    told = until_rolled_out(looking.cluster, keys, silent)
    assert list(told.values()) == ["0 of 2 pods are of this version: has timed out"]
