"""Objects of a cluster through plan, approval and apply: a real API server, and hardware of a world of files.

The cluster is one that existed before, by its kubeconfig; all of the rest of the facility stands already.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from pachon import definition
from pachon.drivers import kubernetes
from pachon.drivers.kubernetes import Access, Cluster
from pachon.errors import DefinitionError, RefusedError
from pachon.model.cluster_object import KINDS, Body, ClusterObject
from pachon.plan.document import Plan
from pachon.plan.folding import deferrals_of, header, lines_of
from tests.api_server import api_server, kubeconfig
from tests.e2e import making
from tests.faults import scenes
from tests.faults.scenes import Place

pytestmark = pytest.mark.timeout(3000)

SERVICE = """\
title: Pages
numbers: [1]
group: miscellaneous
sites: [here]
tier: operational
state: deployable
owners: {sponsor: a, owner: a, databases: a, infrastructure: a, operations: a, documentation: a}
operating: Pages that are shown.
deployment: {kubernetes: {form: manifests, path: manifests}}
"""
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {0}}}\ndata: {{greeting: {1}}}\n"
SPACE = "here/object/namespace/lone"
POLICY = "here/object/validatingadmissionpolicy/pachon-images-by-digest"
BINDING = "here/object/validatingadmissionpolicybinding/pachon-images-by-digest"
GIVEN = (SPACE, POLICY, BINDING)
"""What a cluster gets beside services."""
PAGES, OTHER = (f"here/object/configmap/lone.{name}" for name in ("pages", "other"))


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with api_server() as made:
        yield made


@pytest.fixture(scope="module")
def place(access: Access, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The facility, brought up without its service; its catalogue of one lies beside its definition."""
    top = tmp_path_factory.mktemp("clusters")
    place = Place(top / "blank", top / "fixed")
    folder = place.definition("made")
    making.small(folder, name=scenes.NAME, network="198.19.60", containers=2, furnished=True)
    (place.fixed / "kubeconfig").write_text(kubeconfig(access))
    entry = place.fixed / "catalogue" / "pages"
    (entry / "manifests").mkdir(parents=True)
    (entry / "service.yaml").write_text(SERVICE)
    write(place, pages="hello", other="hello")
    scenes.seed(place, definition.load(folder))
    with pytest.MonkeyPatch.context() as patch:
        scenes.furnish(place, patch.setattr)
        assert scenes.up(scenes.order(place, "made"))["failures"] == []
        text = (folder / "facility.yaml").read_text()
        placed = "placements:\n  - {service: pages, site: here, enclave: lone}\n"
        (folder / "facility.yaml").write_text(text.replace("placements: []\n", placed))
        site = folder / "sites" / "here" / "site.yaml"
        site.write_text(site.read_text() + f"kubeconfig: {place.fixed}/kubeconfig\n")
        yield place


def write(place: Place, **greetings: str) -> None:
    """The service's manifests, each a file."""
    manifests = place.fixed / "catalogue" / "pages" / "manifests"
    for path in manifests.iterdir():
        path.unlink()
    for name, greeting in greetings.items():
        (manifests / f"{name}.yaml").write_text(CONFIG_MAP.format(name, greeting))


def plan(place: Place) -> Plan:
    return scenes.seal(place, "made")


def up(place: Place, *destroy: str, sealed: Plan | None = None) -> dict[str, Any]:
    return scenes.up(scenes.order(place, "made", destroy=frozenset(destroy), plan=sealed))


def there(access: Access, name: str) -> Body | None:
    cluster = Cluster("here", access)
    try:
        return cluster.read(KINDS["ConfigMap"], "lone", name)
    finally:
        cluster.close()


def greeting(access: Access, name: str) -> str:
    return str((there(access, name) or {"data": {"greeting": "nothing"}})["data"]["greeting"])


def test_what_is_placed_comes_to_be_in_the_cluster_and_a_second_time_nothing_is_to_be_done(
    place: Place, access: Access
) -> None:
    made = plan(place)
    assert {action.address: action.verb for action in made.actions} == dict.fromkeys((*GIVEN, PAGES, OTHER), "create")
    waves = [[action.address for action in wave.actions] for wave in made.waves]
    assert [sorted(wave) for wave in waves] == [sorted(GIVEN), [OTHER, PAGES]]
    assert made.envelopes == ()
    report = up(place)
    assert (report["failures"], report["changed"]) == ([], True)
    assert "5 objects of the cluster changed" in report["why"]
    assert (greeting(access, "pages"), greeting(access, "other")) == ("hello", "hello")
    again = plan(place)
    assert (again.waves, again.envelopes, list(again.counts)) == ((), (), ["none"])
    assert up(place)["changed"] is False


def test_a_plan_tells_before_and_after_and_is_carried_out_as_it_is(place: Place, access: Access) -> None:
    write(place, pages="good day", other="hello")
    made = plan(place)
    (action,) = made.actions
    assert (action.address, action.verb, action.risk, action.layer) == (PAGES, "update", "low", "clusters")
    assert [(each.key, each.before, each.after) for each in action.differences] == [
        ("data.greeting", "hello", "good day")
    ]
    assert [(line.what, line.where) for line in lines_of(made)] == [("update configmap", "lone.pages")]
    assert up(place, sealed=made)["failures"] == []
    assert greeting(access, "pages") == "good day"


def test_what_no_manifest_has_any_more_goes_by_name_only(place: Place, access: Access) -> None:
    write(place, pages="good day")
    with pytest.raises(RefusedError, match=rf"{OTHER} \(delete\)") as refused:
        up(place)
    assert f"--destroy {OTHER}" in refused.value.cure
    assert there(access, "other") is not None
    assert up(place, OTHER)["failures"] == []
    assert there(access, "other") is None
    assert plan(place).waves == ()


def test_fields_of_others_are_named_and_taken_by_name_only(
    place: Place, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pages"}, "data": {"greeting": "theirs"}}
    with monkeypatch.context() as patch:
        patch.setattr(kubernetes, "FIELD_MANAGER", "somebody")
        cluster = Cluster("here", access)
        theirs = ClusterObject(kind="ConfigMap", namespace="lone", name="pages", service="", body=body)
        cluster.apply(theirs, force=True)
        cluster.close()
    (protection,) = plan(place).protections
    assert (protection.address, protection.loses) == (PAGES, "fields of others")
    assert protection.why == "somebody has set data.greeting"
    with pytest.raises(RefusedError, match=r"fields of others: somebody has set data\.greeting"):
        up(place, "here/object/*")
    assert greeting(access, "pages") == "theirs"
    assert up(place, PAGES)["failures"] == []
    assert greeting(access, "pages") == "good day"
    assert plan(place).waves == ()


def test_a_plan_that_a_change_in_the_cluster_has_overtaken_is_refused(place: Place, access: Access) -> None:
    write(place, pages="good evening")
    made = plan(place)
    cluster = Cluster("here", access)
    found = there(access, "pages") or {}
    cluster.delete(KINDS["ConfigMap"], "lone", "pages", uid=found["metadata"]["uid"])
    cluster.close()
    with pytest.raises(RefusedError, match="here/cluster: what is seen there"):
        up(place, sealed=made)
    assert there(access, "pages") is None
    assert up(place)["failures"] == []
    assert greeting(access, "pages") == "good evening"


def test_what_a_cluster_that_cannot_be_asked_is_to_hold_waits_in_an_envelope(place: Place, access: Access) -> None:
    path = place.fixed / "kubeconfig"
    kept = path.read_text()
    write(place, pages="good night")
    path.write_text(kept.replace(access.server, "https://127.0.0.1:1"))
    made = plan(place)
    (envelope,) = made.envelopes
    assert (envelope.host, envelope.addresses) == ("here/cluster", (PAGES, *GIVEN))
    assert "its API server does not answer" in envelope.reason
    assert header(made).endswith(", 4 objects deferred")
    (deferral,) = deferrals_of(made)
    assert deferral.told == "deferred at here: 4 objects in the cluster, at most medium, once it can be asked"
    assert [each["address"] for each in up(place)["failures"]] == ["here/cluster"]
    path.write_text(kept)
    assert up(place)["failures"] == []
    assert greeting(access, "pages") == "good night"
    assert plan(place).waves == ()


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ("{name: pages}", "{name: pages, namespace: default}", "3: the namespace 'default' is not the enclave's"),
        ("ConfigMap", "ConfigMaps", "2: there is no kind 'ConfigMaps'"),
    ],
)
def test_manifests_that_cannot_be_placed_stop_everything_with_path_and_line(
    was: str, now: str, told: str, place: Place
) -> None:
    path = place.fixed / "catalogue" / "pages" / "manifests" / "pages.yaml"
    kept = path.read_text()
    path.write_text(kept.replace(was, now))
    with pytest.raises(DefinitionError) as refused:
        plan(place)
    path.write_text(kept)
    (complaint,) = refused.value.complaints
    assert f"manifests/pages.yaml:{told}" in str(complaint)


def test_a_service_of_a_cluster_is_not_placed_where_there_is_none(place: Place) -> None:
    site = place.definition("made") / "sites" / "here" / "site.yaml"
    kept = site.read_text()
    site.write_text("".join(line for line in kept.splitlines(True) if not line.startswith("kubeconfig")))
    with pytest.raises(DefinitionError) as refused:
        plan(place)
    site.write_text(kept)
    assert "pages runs in Kubernetes, and here has no cluster" in str(refused.value)


def test_what_was_in_a_cluster_that_the_site_has_no_more_is_forgotten(place: Place, access: Access) -> None:
    folder = place.definition("made")
    facility, site = folder / "facility.yaml", folder / "sites" / "here" / "site.yaml"
    text = facility.read_text()
    facility.write_text(text[: text.index("placements:")] + "placements: []\n")
    site.write_text("".join(line for line in site.read_text().splitlines(True) if not line.startswith("kubeconfig")))
    assert up(place)["failures"] == []
    assert (plan(place).waves, plan(place).envelopes) == ((), ())
    again = up(place)
    assert (again["failures"], again["changed"]) == ([], False)
    assert not [fact for fact in plan(place).facts if fact.address == "here/cluster"]
    assert there(access, "pages") is not None
