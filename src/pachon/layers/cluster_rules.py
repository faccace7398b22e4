"""What a site's cluster is given beside services: a namespace for each enclave, rights in it, and a rule for images.

Nothing in it decides by itself: who operates an enclave is said by the definition's people, and a cluster that existed
before is bound in our own namespaces only, since it serves others too.
"""

from collections.abc import Collection, Iterator
from typing import Any

from pachon.model.cluster_object import OWNER, ClusterObject, namespace_object, object_of
from pachon.model.facility import Facility, Person, Site

OPERATORS = "pachon:operators"
"""Role and binding in each namespace; manifests cannot have a name with a colon."""
IMAGES = "pachon-images-by-digest"
"""The policy and its binding."""
SYSTEM = ("kube-node-lease", "kube-public", "kube-system")
"""Namespaces where images may go by tag: what runs there came with the hosts' own images, before any registry."""
ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
SEEING = ("get", "list", "watch")
RIGHTS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "",
        (
            "configmaps",
            "endpoints",
            "events",
            "persistentvolumeclaims",
            "pods",
            "pods/attach",
            "pods/ephemeralcontainers",
            "pods/eviction",
            "pods/exec",
            "pods/log",
            "pods/portforward",
            "pods/proxy",
            "pods/resize",
            "podtemplates",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "serviceaccounts",
            "services",
            "services/proxy",
        ),
        ALL,
    ),
    ("apps", ("*",), ALL),
    ("autoscaling", ("*",), ALL),
    ("batch", ("*",), ALL),
    ("discovery.k8s.io", ("*",), ALL),
    ("networking.k8s.io", ("*",), ALL),
    ("policy", ("*",), ALL),
    ("", ("limitranges", "resourcequotas"), SEEING),
    ("rbac.authorization.k8s.io", ("rolebindings", "roles"), SEEING),
)
"""Of operators in their namespace, by group, resources and verbs: neither Secrets nor tokens of accounts nor rights.

Resources of the first group are written out, since nothing can be taken away from a ``*``.
"""
MAKING_PODS = (
    ("", ("pods", "pods/ephemeralcontainers", "podtemplates", "replicationcontrollers")),
    ("apps", ("daemonsets", "deployments", "replicasets", "statefulsets")),
    ("batch", ("cronjobs", "jobs")),
)
"""All that has images, by group."""
CONTAINERS = ("containers", "ephemeralContainers", "initContainers")
BY_DIGEST = "^[^@]+@sha256:[0-9a-f]{64}$"
REFUSED = (
    "'by tag, which may be moved: ' + variables.tagged.join(', ') + "
    "'; write each image as NAME@sha256:DIGEST, as the release that it belongs to names it'"
)


def user_of(person: Person) -> str:
    """As whom an API server has to be told of a person, by certificate or token."""
    return f"person:{person.name}"


def rules_of(facility: Facility, site: Site, *, enclaves: Collection[str], owner: str) -> tuple[ClusterObject, ...]:
    """What the site's cluster is given for these enclaves; for none nothing."""
    if not enclaves:
        return ()
    found = [policy_object(owner), _binding(owner, everywhere=not site.kubeconfig)]
    for enclave in sorted(enclaves):
        found.append(namespace_object(enclave, owner=owner))
        people = [person for person in facility.people if enclave in person.enclaves and person.sudo]
        found += _operators(enclave, people, owner) if people else ()
    return tuple(found)


def _operators(enclave: str, people: Collection[Person], owner: str) -> Iterator[ClusterObject]:
    """Whoever has sudo on the enclave's hosts may do everything in its namespace but what guards that."""
    group = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": [api], "resources": [*names], "verbs": [*verbs]} for api, names, verbs in RIGHTS]
    users = [{"apiGroup": group, "kind": "User", "name": name} for name in sorted(map(user_of, people))]
    role = {"apiGroup": group, "kind": "Role", "name": OPERATORS}
    metadata = {"name": OPERATORS}
    yield object_of({"kind": "Role", "metadata": metadata, "rules": rules}, owner=owner, namespace=enclave)
    binding = {"kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": users}
    yield object_of(binding, owner=owner, namespace=enclave)


def policy_object(owner: str) -> ClusterObject:
    """Refuses images without a digest, in pods and in all that makes pods.

    What had such an image before may keep it: else its labels and finalizers could not be changed, and it never went.
    """
    variables = {
        "spec": _pods("object"),
        "images": _images("variables.spec"),
        "old": f"oldObject == null ? variables.spec : {_pods('oldObject')}",
        "before": f"oldObject == null ? [] : {_images('variables.old')}",
        "tagged": f"variables.images.filter(i, !i.matches('{BY_DIGEST}') && !(i in variables.before))",
    }
    rules = [
        {"apiGroups": [api], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": [*names]}
        for api, names in MAKING_PODS
    ]
    check = {"expression": "variables.tagged.size() == 0", "messageExpression": REFUSED, "reason": "Invalid"}
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules},
        "variables": [{"name": name, "expression": text} for name, text in variables.items()],
        "validations": [check],
    }
    return object_of({"kind": "ValidatingAdmissionPolicy", "metadata": {"name": IMAGES}, "spec": spec}, owner=owner)


def _pods(whole: str) -> str:
    """The specification of an object's pods, in the language of policies."""
    return (
        f"({whole}.kind == 'Pod' ? {whole}.spec : {whole}.kind == 'PodTemplate' ? {whole}.template.spec : "
        f"{whole}.kind == 'CronJob' ? {whole}.spec.jobTemplate.spec.template.spec : {whole}.spec.template.spec)"
    )


def _images(spec: str) -> str:
    """The images of all containers in it; one that names none has an empty one."""
    each = ".map(c, has(c.image) ? c.image : '')"
    return "(" + " + ".join(f"(has({spec}.{name}) ? {spec}.{name}{each} : [])" for name in CONTAINERS) + ")"


def _binding(owner: str, *, everywhere: bool) -> ClusterObject:
    """Where that holds: in all namespaces but the system's, or in ours."""
    system = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [*SYSTEM]}
    where: dict[str, Any] = {"matchExpressions": [system]} if everywhere else {"matchLabels": {OWNER: owner}}
    spec = {"policyName": IMAGES, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": where}}
    body = {"kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": IMAGES}, "spec": spec}
    return object_of(body, owner=owner)
