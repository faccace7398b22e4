"""An object of a Kubernetes cluster as a service's manifests have it, and the kinds of objects that there may be."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pachon.model.base import Frozen
from pachon.model.stamp import digest

Body = Mapping[str, Any]
"""An object as the API server takes and gives it."""
FIELD_MANAGER = "pachon"
"""Who we are to the API server: fields that we apply are ours under this name."""
OWNER, SERVICE, DIGEST = "pachon/owner", "pachon/service", "pachon/digest"
"""Labels: facility and site, and the service; annotation: digest of what was applied last."""
ENCLAVE = "pachon/enclave"
"""Label of a namespace: whose it is."""
OURS = "pachon/"
"""What our labels and annotations begin with."""


class ObjectKind(Frozen):
    """A kind of object and where the API server has it."""

    kind: str
    api: str
    """Group and version, such as ``apps/v1``."""
    plural: str
    """Its name in paths."""
    turn: int
    """Lower ones are applied first, and removed last."""
    pods: tuple[str, ...] | None = None
    """Where the specification of its pods is; None where it has none."""
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "") -> str:
        """Path of one object, of a namespace's, or of all."""
        group = f"/api/{self.api}" if "/" not in self.api else f"/apis/{self.api}"
        inside = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{group}{inside}/{self.plural}" + (f"/{name}" if name else "")


TEMPLATE = ("spec", "template", "spec")
NAMESPACE = ObjectKind(kind="Namespace", api="v1", plural="namespaces", turn=0, namespaced=False)
POD = ObjectKind(kind="Pod", api="v1", plural="pods", turn=4, pods=("spec",))
KINDS: Mapping[str, ObjectKind] = MappingProxyType(
    {
        each.kind: each
        for each in (
            ObjectKind(kind="ConfigMap", api="v1", plural="configmaps", turn=2),
            ObjectKind(
                kind="CronJob", api="batch/v1", plural="cronjobs", turn=4, pods=("spec", "jobTemplate", *TEMPLATE)
            ),
            ObjectKind(kind="DaemonSet", api="apps/v1", plural="daemonsets", turn=4, pods=TEMPLATE),
            ObjectKind(kind="Deployment", api="apps/v1", plural="deployments", turn=4, pods=TEMPLATE),
            ObjectKind(kind="HorizontalPodAutoscaler", api="autoscaling/v2", plural="horizontalpodautoscalers", turn=5),
            ObjectKind(kind="Ingress", api="networking.k8s.io/v1", plural="ingresses", turn=5),
            ObjectKind(kind="Job", api="batch/v1", plural="jobs", turn=4, pods=TEMPLATE),
            ObjectKind(kind="LimitRange", api="v1", plural="limitranges", turn=1),
            NAMESPACE,
            ObjectKind(kind="NetworkPolicy", api="networking.k8s.io/v1", plural="networkpolicies", turn=1),
            ObjectKind(kind="PersistentVolumeClaim", api="v1", plural="persistentvolumeclaims", turn=3),
            POD,
            ObjectKind(kind="PodDisruptionBudget", api="policy/v1", plural="poddisruptionbudgets", turn=3),
            ObjectKind(kind="ResourceQuota", api="v1", plural="resourcequotas", turn=1),
            ObjectKind(kind="Role", api="rbac.authorization.k8s.io/v1", plural="roles", turn=2),
            ObjectKind(kind="RoleBinding", api="rbac.authorization.k8s.io/v1", plural="rolebindings", turn=2),
            ObjectKind(kind="Service", api="v1", plural="services", turn=3),
            ObjectKind(kind="ServiceAccount", api="v1", plural="serviceaccounts", turn=2),
            ObjectKind(kind="StatefulSet", api="apps/v1", plural="statefulsets", turn=4, pods=TEMPLATE),
            ObjectKind(
                kind="ValidatingAdmissionPolicy",
                api="admissionregistration.k8s.io/v1",
                plural="validatingadmissionpolicies",
                turn=1,
                namespaced=False,
            ),
            ObjectKind(
                kind="ValidatingAdmissionPolicyBinding",
                api="admissionregistration.k8s.io/v1",
                plural="validatingadmissionpolicybindings",
                turn=2,
                namespaced=False,
            ),
        )
    }
)
"""All that is applied, by name; manifests may hold those that have a namespace. Sorted."""


class PlacedManifest(Frozen):
    """An object as a service's manifests have it, where the service is placed."""

    body: dict[str, Any]
    where: str
    """Service, file and line."""


class ClusterObject(Frozen):
    """An object that is to be in a site's cluster."""

    kind: str
    """One of ``KINDS``."""
    namespace: str
    """The enclave's name; empty where the kind has none."""
    name: str
    service: str
    """The service that it is a part of; empty for what the cluster itself needs."""
    body: dict[str, Any]
    """As it is applied."""
    where: str = ""
    """Path and line in its manifest."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Kind, namespace and name: what it is one of."""
        return self.kind, self.namespace, self.name

    @property
    def digest(self) -> str:
        """Of what is applied."""
        return str(self.body["metadata"]["annotations"][DIGEST])


def owner_of(facility: str, site: str) -> str:
    """The value of the label by which all objects of a site's cluster that are ours are found."""
    return f"{facility}.{site}"


def object_of(manifest: Body, *, owner: str, service: str = "", namespace: str = "", where: str = "") -> ClusterObject:
    """A manifest as the object that is applied: in its namespace, with our labels and its digest."""
    kind = KINDS[str(manifest["kind"])]
    metadata = dict(manifest["metadata"])
    if kind.namespaced:
        metadata["namespace"] = namespace
    metadata["labels"] = {**(metadata.get("labels") or {}), OWNER: owner, **({SERVICE: service} if service else {})}
    body = {**manifest, "apiVersion": kind.api, "metadata": metadata}
    annotations = {**(metadata.get("annotations") or {}), DIGEST: digest(body)}
    body["metadata"] = {**metadata, "annotations": annotations}
    return ClusterObject(
        kind=kind.kind,
        namespace=namespace if kind.namespaced else "",
        name=str(metadata["name"]),
        service=service,
        body=body,
        where=where,
    )


def namespace_object(name: str, *, owner: str) -> ClusterObject:
    """The namespace of an enclave."""
    return object_of({"kind": "Namespace", "metadata": {"name": name, "labels": {ENCLAVE: name}}}, owner=owner)


def address_of(site: str, kind: str, namespace: str, name: str) -> str:
    """What plans call an object: ``base/object/deployment/science.tap``."""
    return f"{site}/object/{kind.lower()}/" + (f"{namespace}.{name}" if namespace else name)


def containers(body: Body) -> Iterator[tuple[tuple[str | int, ...], Body]]:
    """The containers of an object's pods, each with where it stands."""
    kind = KINDS.get(str(body.get("kind")))
    if kind is None or kind.pods is None:
        return
    spec: Any = body
    for key in kind.pods:
        spec = spec.get(key) if isinstance(spec, Mapping) else None
    for group in ("initContainers", "containers"):
        listed = spec.get(group) if isinstance(spec, Mapping) else None
        for index, each in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(each, Mapping):
                yield (*kind.pods, group, index), each
