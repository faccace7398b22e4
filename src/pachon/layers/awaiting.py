"""Waits in a cluster until workloads are as their manifests say, and says meanwhile what each waits for."""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

from pachon.drivers.kubernetes import Cluster
from pachon.errors import PermanentError, TemporaryError
from pachon.layers.awaited import AWAITED, gave_up, waits_for, why
from pachon.layers.clusters import STAGE, Key
from pachon.model.cluster_object import KINDS, POD, Body
from pachon.progress import Event, Progress

PATIENCE = timedelta(minutes=5)
PAUSE_SECONDS = 1.0


def until_rolled_out(
    cluster: Cluster, keys: Mapping[str, Key], progress: Progress, *, patience: timedelta = PATIENCE
) -> dict[str, str]:
    """What workloads still wait for when patience or the cluster gave up, by address; nothing once all are there.

    ``keys`` by address; kinds that are there as soon as they are applied are passed over. An API server that does not
    answer for a while is waited for as well.
    """
    left = {address: key for address, key in keys.items() if key[0] in AWAITED}
    said: dict[str, str] = {}
    ended: dict[str, str] = {}
    until = time.monotonic() + patience.total_seconds()
    while left:
        for address, key in sorted(left.items()):
            told, final = _told(cluster, key)
            if not told or final:
                del left[address]
                said.pop(address, None)
            if not told:
                progress(Event(STAGE, address, "done", "rolled out"))
            elif final:
                ended[address] = told
            elif said.get(address) != told:
                said[address] = told
                progress(Event(STAGE, address, "moving", f"waits: {told}"))
        if not left or time.monotonic() >= until:
            break
        time.sleep(PAUSE_SECONDS)
    return {**ended, **{address: said[address] for address in left}}


def _told(cluster: Cluster, key: Key) -> tuple[str, bool]:
    """What a workload waits for, empty if for nothing; and whether nothing more will come of it."""
    kind, namespace, name = key
    try:
        body = cluster.read(KINDS[kind], namespace, name)
        if body is None:
            return "somebody has removed it", True
        if not waits_for(body):
            return "", False
        return why(body, _pods(cluster, namespace, body)), gave_up(body)
    except (PermanentError, TemporaryError) as error:
        return error.message, isinstance(error, PermanentError)


def _pods(cluster: Cluster, namespace: str, body: Body) -> Sequence[Body]:
    labels = (body["spec"].get("selector") or {}).get("matchLabels") or {}
    if not labels:
        return ()
    return cluster.listed(POD, namespace=namespace, labels=",".join(f"{key}={value}" for key, value in labels.items()))
