"""Manifests of services: what is wrong with them is told with path, line and cure, all of it at once."""

from pathlib import Path

import pytest

from pachon.definition.manifests import read_manifests
from pachon.model.cluster_object import DIGEST, OWNER, SERVICE, address_of, object_of, owner_of

IMAGE = "registry.test/web@sha256:" + "a" * 64
GOOD = f"""\
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  greeting: "yes"
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: science
spec:
  selector:
    matchLabels: {{app: web}}
  template:
    metadata:
      labels: {{app: web}}
    spec:
      containers:
        - name: web
          image: {IMAGE}
"""
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    made = tmp_path / "manifests"
    made.mkdir()
    return made


def told(folder: Path, text: str, *, namespaces: tuple[str, ...] = ("science",)) -> list[str]:
    (folder / "web.yaml").write_text(text)
    return [str(each) for each in read_manifests(folder, namespaces=namespaces).complaints]


def test_good_manifests_are_read_with_their_lines(folder: Path) -> None:
    assert told(folder, GOOD) == []
    settings, web = read_manifests(folder, namespaces=("science",)).objects
    assert (settings.where, web.where) == ("manifests/web.yaml:1", "manifests/web.yaml:8")
    assert settings.body["data"] == {"greeting": "yes"}


@pytest.mark.parametrize(
    ("was", "now", "complaint"),
    [
        ("kind: Deployment", "kind: Deploymant", "9: there is no kind 'Deploymant' that manifests may hold; did you"),
        ("kind: ConfigMap", "kind: Secret", "2: a Secret would stand here for all to read; take it out"),
        ("kind: ConfigMap", "kind: Namespace", "2: a Namespace is the whole cluster's; take it out"),
        ("apiVersion: apps/v1", "apiVersion: apps/v1beta1", "8: Deployment is not of 'apps/v1beta1'; write 'apiVers"),
        ("kind: ConfigMap\n", "", "1: this object has no kind; write kind, as in"),
        ("  name: settings", "  name: Settings", "4: 'Settings' is no name of an object; write lower-case"),
        ("  name: settings", "  generateName: settings", "4: generateName is the API server's to say; take"),
        ("namespace: science", "namespace: default", "12: the namespace 'default' is not the enclave's; leave it out"),
        (IMAGE, "registry.test/web:1.2", "22: the image registry.test/web:1.2 is named by a tag, which may be moved"),
        (IMAGE, "registry.test:5000/web", "22: the image registry.test:5000/web has no digest; write registry.test:5"),
        (IMAGE, "web@sha256:abc", "22: the image web@sha256:abc has no digest; write web@sha256:"),
        (f"\n          image: {IMAGE}", "", "21: this container has no image; write its image with its digest"),
        ("\ndata:", "\nstatus:", "5: only the cluster itself says what an object's status is; take status out"),
        ("labels: {app: web}", "labels: {app: web, app: b}", "18: the key 'app' stands twice; keep one"),
        ("matchLabels: {app", "matchLabels: [app", "15: this is not YAML: did not find expected ',' or ']'"),
        ("  name: settings", "  name: settings\n  labels: {pachon/owner: me}", "5: pachon/owner is written by Pachon"),
        ("---\n", "---\n- a\n---\n", "8: this is no object; write apiVersion, kind and metadata"),
    ],
)
def test_what_is_wrong_is_told_with_line_and_cure(was: str, now: str, complaint: str, folder: Path) -> None:
    assert was in GOOD
    first, *_ = told(folder, GOOD.replace(was, now))
    assert first.startswith(f"manifests/web.yaml:{complaint}")


def test_all_that_is_wrong_is_told_at_once(folder: Path) -> None:
    text = (
        GOOD.replace("namespace: science", "namespace: default")
        .replace(IMAGE, "web")
        .replace("v1\nkind: C", "v2\nkind: C")
    )
    assert [each.split(":")[1] for each in told(folder, text)] == ["1", "12", "22"]


def test_a_job_that_removes_itself_would_run_with_every_run_and_is_refused(folder: Path) -> None:
    spec = (
        f"spec:\n  ttlSecondsAfterFinished: 60\n  template: {{spec: {{containers: [{{name: a, image: '{IMAGE}'}}]}}}}\n"
    )
    assert told(folder, f"apiVersion: batch/v1\nkind: Job\nmetadata: {{name: once}}\n{spec}") == [
        "manifests/web.yaml:5: a Job that removes itself would be made, and run, again by every run of ours; "
        "take it out; what no manifest has any more is removed"
    ]


def test_pods_of_every_kind_are_looked_at(folder: Path) -> None:
    pod = "spec: {initContainers: [{name: a, image: a:1}], containers: [{name: b, image: b}]}"
    job = f"spec: {{jobTemplate: {{spec: {{template: {{{pod}}}}}}}}}"
    text = f"apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: nightly}}\n{job}\n"
    assert [each.split(": ")[1].split(" ")[2] for each in told(folder, text)] == ["a:1", "b"]


def test_an_object_stands_once_in_all_files(folder: Path) -> None:
    (folder / "again.yaml").write_text(CONFIG_MAP)
    assert told(folder, CONFIG_MAP) == [
        "manifests/web.yaml:4: the ConfigMap a stands twice; keep one; the first is at manifests/again.yaml:1"
    ]


def test_objects_get_namespace_labels_and_a_digest_that_follows_what_is_written(folder: Path) -> None:
    told(folder, GOOD)
    web = read_manifests(folder).objects[1].body
    owner = owner_of("lab", "base")
    made = object_of(web, owner=owner, service="portal", namespace="science")
    assert made.key == ("Deployment", "science", "web")
    assert made.body["metadata"]["namespace"] == "science"
    assert made.body["metadata"]["labels"] == {OWNER: "lab.base", SERVICE: "portal"}
    assert made.digest == made.body["metadata"]["annotations"][DIGEST]
    other = object_of(
        {**web, "spec": {**web["spec"], "replicas": 2}}, owner=owner, service="portal", namespace="science"
    )
    assert other.digest != made.digest
    assert address_of("base", *made.key) == "base/object/deployment/science.web"
