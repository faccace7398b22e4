"""How long the clusters layer takes to list 5,000 objects and find what differs; beside it the official typed client.

Both against the same real API server on loopback, each in a process of its own, imports included in its seconds of
processor and its memory. Prints a table and, last, one JSON line.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pachon.drivers.kubernetes import Access, Cluster
from pachon.layers.clusters import Looking, attempt
from pachon.layers.object_differences import holds
from pachon.model.cluster_object import OWNER, ClusterObject, namespace_object, object_of
from tests.api_server import api_server
from tests.bench.running import table

SPACE, OWNED = "science", "bench.here"
IMAGE = "registry.test/web@sha256:" + "a" * 64
MOST_SECONDS, MOST_MB = 1.5, 300
WAYS = ("layer", "layer, 1 % changed", "typed client")


def body(number: int, *, changed: bool) -> dict[str, Any]:
    """A half are ConfigMaps, three tenths Services, a fifth Deployments."""
    name, labels = f"o-{number:05}", {"app": f"o-{number:05}"}
    match number % 10:
        case 0 | 1 | 2 | 3 | 4:
            data = {f"key-{each}": f"value {each} of {name}" for each in range(8)}
            return {"kind": "ConfigMap", "metadata": {"name": name}, "data": data | ({"new": "1"} if changed else {})}
        case 5 | 6 | 7:
            ports = [{"name": "http", "port": 81 if changed else 80, "targetPort": 8080, "protocol": "TCP"}]
            return {"kind": "Service", "metadata": {"name": name}, "spec": {"selector": labels, "ports": ports}}
        case _:
            container = {
                "name": "web",
                "image": IMAGE,
                "env": [{"name": f"KEY_{each}", "value": f"value {each}"} for each in range(6)],
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
            }
            template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
            spec = {"replicas": 3 if changed else 2, "selector": {"matchLabels": labels}, "template": template}
            return {"kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def wanted(count: int, *, changed: bool = False) -> list[ClusterObject]:
    """All objects as the definition has them; if so one of a hundred differs from what stands."""
    made = [
        object_of(body(number, changed=changed and number % 100 == 7), owner=OWNED, service="bench", namespace=SPACE)
        for number in range(count)
    ]
    return [namespace_object(SPACE, owner=OWNED), *made]


def layer(access: Access, objects: Sequence[ClusterObject]) -> int:
    """How many differ, as the layer finds."""
    cluster = Cluster("bench", access)
    sight = Looking("here", OWNED, cluster).look(objects)
    cluster.close()
    return len(sight.works)


def typed(access: Access, objects: Sequence[ClusterObject]) -> int:
    """How many differ, as is found with the official client's typed models."""
    from kubernetes import client

    settings = client.Configuration()
    settings.host, settings.ssl_ca_cert = access.server, str(access.authority)
    settings.cert_file, settings.key_file = str(access.certificate), str(access.key)
    api = client.ApiClient(settings)
    core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
    labels = f"{OWNER}={OWNED}"
    listed: dict[str, Any] = {
        "ConfigMap": core.list_config_map_for_all_namespaces(label_selector=labels),
        "Deployment": apps.list_deployment_for_all_namespaces(label_selector=labels),
        "Namespace": core.list_namespace(label_selector=labels),
        "Service": core.list_service_for_all_namespaces(label_selector=labels),
    }
    seen = {
        (kind, each.metadata.name): {**api.sanitize_for_serialization(each), "kind": kind, "apiVersion": ""}
        for kind, found in listed.items()
        for each in found.items
    }
    return sum(not holds({**each.body, "apiVersion": ""}, seen.get((each.kind, each.name), {})) for each in objects)


def child(way: str, count: int, access: Access) -> dict[str, Any]:
    objects = wanted(count, changed="changed" in way)
    rendered = time.process_time()
    began = time.monotonic()
    differing = (typed if way == "typed client" else layer)(access, objects)
    return {
        "way": way,
        "objects": len(objects),
        "differ": differing,
        "seconds": round(time.monotonic() - began, 2),
        "cpu_seconds": round(time.process_time() - rendered, 2),
        "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
    }


def measured(way: str, count: int, access: Access) -> dict[str, Any]:
    paths = [access.server, str(access.authority), str(access.certificate), str(access.key)]
    argv = [sys.executable, "-m", "tests.bench.bench_clusters", "--objects", str(count), "--child", way, *paths]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=5, metavar="WORD", help="what the bench runs itself")
    arguments = parser.parse_args()
    if arguments.child:
        way, server, *paths = arguments.child
        found = child(way, arguments.objects, Access(server, *map(Path, paths)))
        sys.stdout.write(json.dumps(found) + "\n")
        return
    with api_server() as access:
        cluster = Cluster("bench", access)
        objects = wanted(arguments.objects)
        began = time.monotonic()
        made = attempt(cluster, Looking("here", OWNED, cluster).look(objects).works, forced=(), told=_unheard)
        filling = time.monotonic() - began
        cluster.close()
        assert not made.failed, next(iter(made.failed.values()))
        rounds = [[measured(way, arguments.objects, access) for way in WAYS] for _ in range(arguments.rounds)]
    show([best([each[place] for each in rounds]) for place in range(len(WAYS))], filling=filling)


def _unheard(*_: object) -> None:
    """What is applied is told to nobody."""


def best(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The quickest round; of memory the most."""
    least = min(found, key=lambda each: each["seconds"])
    return {**least, "memory_mb": max(each["memory_mb"] for each in found)}


def show(found: Sequence[Mapping[str, Any]], *, filling: float) -> None:
    keys = ("way", "objects", "differ", "seconds", "cpu_seconds", "memory_mb")
    sys.stdout.write(table([key.replace("_", " ") for key in keys], [[each[key] for key in keys] for each in found]))
    sys.stdout.write(f"\nall of them previewed and applied: {filling:.1f} s\n")
    ours, changed, theirs = found
    ratio = {
        "seconds_of_most": round(ours["seconds"] / MOST_SECONDS, 2),
        "memory_of_most": round(ours["memory_mb"] / MOST_MB, 2),
        "typed_seconds": round(theirs["seconds"] / ours["seconds"], 1),
        "typed_memory": round(theirs["memory_mb"] / ours["memory_mb"], 1),
    }
    figures = {"layer": ours, "changed": changed, "typed": theirs, "filling_seconds": round(filling, 1)}
    sys.stdout.write(json.dumps({"bench": "clusters", **figures, "ratio": ratio}) + "\n")


if __name__ == "__main__":
    main()
