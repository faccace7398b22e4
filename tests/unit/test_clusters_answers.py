"""What an API server answers beside yes and no: each has a consequence of its own, and none is told for another."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from pachon.drivers import kubernetes
from pachon.drivers.kubernetes import Access, Cluster, LeavingError
from pachon.errors import TemporaryError
from pachon.layers import clusters
from pachon.layers.awaiting import until_rolled_out
from pachon.layers.clusters import Looking, ObjectWork, attempt
from pachon.model import cluster_object
from pachon.model.cluster_object import KINDS, Body, ClusterObject, ObjectKind, namespace_object, object_of
from pachon.progress import silent
from tests.api_server import api_server, compact, logged_in

pytestmark = pytest.mark.timeout(3000)

IMAGE = "registry.test/web@sha256:" + "a" * 64
CONFIG_MAP, NAMESPACE = KINDS["ConfigMap"], KINDS["Namespace"]
NUMBERS = count(1)
HOLD = "pachon.test/hold"


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    # Else it goes on with lists from what it remembers itself, for some minutes after etcd has forgotten it.
    with api_server("--feature-gates=ListFromCacheSnapshot=false") as made:
        yield made


@pytest.fixture(scope="module")
def cluster(access: Access) -> Iterator[Cluster]:
    made = Cluster("here", access)
    yield made
    made.close()


@pytest.fixture
def looking(cluster: Cluster) -> Looking:
    """Looks for what has an owner of this test's own."""
    return Looking("here", f"lab.here-{next(NUMBERS)}", cluster)


@pytest.fixture
def space(looking: Looking) -> str:
    """A namespace of this test's own, which is nobody's."""
    name = f"enclave-{next(NUMBERS)}"
    looking.cluster.apply(namespace_object(name, owner="nobody"))
    return name


def config_map(looking: Looking, space: str, name: str = "a", **data: str) -> ClusterObject:
    body = {"kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    return object_of(body, owner=looking.owner, service="portal", namespace=space)


def deployment(looking: Looking, space: str) -> ClusterObject:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": IMAGE}]}}
    body = {
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    return object_of(body, owner=looking.owner, service="portal", namespace=space)


def by_hand(looking: Looking, wanted: ClusterObject, **metadata: Any) -> None:
    """Change an object's metadata as somebody else would."""
    path = KINDS[wanted.kind].path(wanted.namespace, wanted.name)
    looking.cluster._ask("PATCH", path, {}, {"metadata": metadata}, content="application/merge-patch+json")


def brought_about(looking: Looking, *wanted: ClusterObject) -> None:
    assert not tried(looking, looking.look(wanted).works)


def tried(looking: Looking, works: tuple[ObjectWork, ...]) -> dict[str, Exception]:
    return dict(attempt(looking.cluster, works, forced=(), told=lambda work, failed: None).failed)


def made(looking: Looking, path: str, body: Body) -> None:
    looking.cluster._ask("POST", path, {}, body)


def test_what_goes_already_is_not_asked_for_a_second_time(looking: Looking, space: str) -> None:
    gone = config_map(looking, space)
    brought_about(looking, gone)
    by_hand(looking, gone, finalizers=[HOLD])
    brought_about(looking)  # removes it
    sight = looking.look([])
    assert (sight.works, sight.is_done) == ((), True)
    assert sight.leaving == {f"here/object/configmap/{space}.a": f"is being removed, held by {HOLD}"}
    by_hand(looking, gone, finalizers=None)
    assert looking.look([]).leaving == {}


def test_what_is_wanted_and_goes_is_not_as_wanted_and_is_made_anew_once_it_is_gone(
    looking: Looking, space: str
) -> None:
    wanted = config_map(looking, space)
    brought_about(looking, wanted)
    by_hand(looking, wanted, finalizers=[HOLD])
    (going,) = looking.look([]).works
    assert not tried(looking, (going,))
    (work,) = looking.look([wanted]).works
    assert (work.verb, work.reason) == ("create", f"once it is gone, since it is being removed, held by {HOLD}")
    (failed,) = tried(looking, (work,)).values()
    assert isinstance(failed, LeavingError)
    assert "finalizers" in failed.cure
    by_hand(looking, wanted, finalizers=None)
    brought_about(looking, wanted)
    assert looking.look([wanted]).works == ()


def test_in_a_namespace_that_goes_nothing_is_made_and_it_is_said_why(looking: Looking, space: str) -> None:
    found = looking.cluster.read(NAMESPACE, "", space) or {}
    looking.cluster.delete(NAMESPACE, "", space, uid=found["metadata"]["uid"])
    other = f"enclave-{next(NUMBERS)}"
    looking.cluster.apply(namespace_object(other, owner="nobody"))
    sight = looking.look([config_map(looking, space), config_map(looking, other)])
    assert [work.verb for work in sight.works] == ["create", "create"]
    assert "which is being removed" in next(work.reason for work in sight.works if space in work.address)
    (failed,) = tried(looking, sight.works).values()
    assert isinstance(failed, LeavingError)
    assert "rights" not in failed.cure


def test_what_another_facility_keeps_in_the_same_cluster_is_not_taken_from_it(looking: Looking, space: str) -> None:
    theirs = Looking("there", f"other.there-{next(NUMBERS)}", looking.cluster)
    brought_about(theirs, config_map(theirs, space, greeting="theirs"))
    (work,) = looking.look([config_map(looking, space, greeting="ours")]).works
    assert (work.verb, work.reason) == ("unknown", f"it belongs to {theirs.owner}")
    assert "pachon/owner" in work.cure
    assert theirs.look([config_map(theirs, space, greeting="theirs")]).works == ()


def test_a_workload_that_a_controller_has_made_its_own_is_still_waited_for(looking: Looking, space: str) -> None:
    wanted, theirs = deployment(looking, space), config_map(looking, space, "theirs")
    brought_about(looking, wanted, theirs)
    uid = (looking.cluster.read(CONFIG_MAP, space, "theirs") or {})["metadata"]["uid"]
    by_hand(looking, wanted, ownerReferences=[{"apiVersion": "v1", "kind": "ConfigMap", "name": "theirs", "uid": uid}])
    sight = looking.look([wanted, theirs])
    assert sight.works == ()
    assert sight.waiting == {f"here/object/deployment/{space}.web": "its controller has not seen it yet"}


def test_a_webhook_that_does_not_answer_keeps_back_only_what_it_is_asked_about(looking: Looking, space: str) -> None:
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["services"]}]
    hook = {
        "name": "dead.pachon.test",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": rules,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space}},
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    made(looking, path, {**kind, "metadata": {"name": space}, "webhooks": [hook]})
    body = {"kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    service = object_of(body, owner=looking.owner, namespace=space)
    until(lambda: [work.verb for work in looking.look([service]).works] == ["unknown"])
    sight = looking.look([service, config_map(looking, space)])
    assert [work.verb for work in sight.works] == ["create", "unknown"]
    assert "dead.pachon.test" in sight.works[1].reason
    looking.cluster._ask("DELETE", f"{path}/{space}")


def until(true: Any) -> None:
    """Policies and hooks take a moment to hold."""
    for _ in range(600):
        if true():
            return
        threading.Event().wait(0.1)
    raise AssertionError("it has not come to hold")


def test_a_kind_that_the_cluster_does_not_have_is_unknown_and_not_about_to_be_made(
    looking: Looking, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {**KINDS, "Widget": ObjectKind(kind="Widget", api="pachon.test/v1", plural="widgets", turn=4)}
    for module in (cluster_object, clusters, kubernetes):
        monkeypatch.setattr(module, "KINDS", kinds)
    widget = object_of({"kind": "Widget", "metadata": {"name": "w"}}, owner=looking.owner, namespace=space)
    (work,) = looking.look([widget]).works
    assert work.verb == "unknown"
    assert "extension" in work.cure


def test_a_list_that_cannot_be_gone_on_with_is_begun_anew(
    looking: Looking, space: str, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought_about(looking, *(config_map(looking, space, f"a-{number}") for number in range(4)))
    monkeypatch.setattr(kubernetes, "PAGE", 3)
    ask = looking.cluster._ask
    compacted: list[bool] = []

    def asked(*words: Any, **more: Any) -> Any:
        """The first page is as of long ago, and what was then is kept no more."""
        found = ask(*words, **more)
        if not compacted:
            compacted.append(True)
            compact(access)
            token = found["metadata"]["continue"]
            place = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            old = json.dumps({**place, "rv": 2}).encode()
            found["metadata"]["continue"] = base64.urlsafe_b64encode(old).decode().rstrip("=")
        return found

    monkeypatch.setattr(looking.cluster, "_ask", asked)
    found = looking.cluster.listed(CONFIG_MAP, namespace=space)
    names = [each["metadata"]["name"] for each in found]
    assert [name for name in names if name.startswith("a-")] == ["a-0", "a-1", "a-2", "a-3"]


def test_who_may_not_look_at_a_workload_any_more_waits_for_it_no_longer(access: Access) -> None:
    stranger = Cluster("here", logged_in(access, "stranger"))
    told = until_rolled_out(stranger, {"here/object/job/a": ("Job", "default", "a")}, silent)
    assert "cannot get resource" in told["here/object/job/a"]
    stranger.close()


class Busy:
    """An answer of a server that has too much to do, as it is sent."""

    status = 429
    headers = {"Retry-After": "1"}  # noqa: RUF012  # never written to

    def read(self) -> bytes:
        return b"Too many requests, please try again later.\n"


def test_a_server_that_is_too_busy_is_asked_again_when_it_says_and_not_for_ever(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient, impatient = Cluster("here", access), Cluster("here", access, patience=timedelta(seconds=0.5))
    answers: list[Any] = [Busy()]
    ask: Callable[..., Any] = patient._rest.request
    monkeypatch.setattr(
        patient._rest, "request", lambda *words, **more: answers.pop() if answers else ask(*words, **more)
    )
    patient.ready()
    assert not answers
    monkeypatch.setattr(impatient._rest, "request", lambda *words, **more: Busy())
    with pytest.raises(TemporaryError, match="Too many requests"):
        impatient.ready()
    for each in (impatient, patient):
        each.close()
