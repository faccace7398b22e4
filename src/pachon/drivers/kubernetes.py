"""A Kubernetes cluster's API server, spoken to through the official client's connections, as plain JSON.

Its typed models are passed over, since thousands of objects are listed. Every write says who we are (our field
manager), so that the API server itself tells whose a field is.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pachon.errors import MissingError, PachonError, PermanentError, RefusedError, TemporaryError
from pachon.model.cluster_object import FIELD_MANAGER, KINDS, Body, ClusterObject, ObjectKind

if TYPE_CHECKING:
    from kubernetes.client.rest import RESTClientObject

PATIENCE = timedelta(seconds=30)
CONNECTIONS = 8
"""Requests at a time."""
PAGE = 1000
"""Objects that are listed in one answer."""
BUSY, GONE = 429, 410
TEMPORARY = frozenset({408, 425, BUSY, 502, 503, 504})
UNSURE = frozenset({409, 500})
"""Something else came first, or what the API server asks in turn (a webhook) does not answer."""
NO_SUCH_FIELDS = "failed to create typed"
"""Said with status 500 of an object with fields that its kind does not have."""
LEAVING_CURE = "run again once it is gone; where it stays, see what its finalizers wait for"
SAID_MOST = 400
"""Of an answer that is no status object so much is told."""


@dataclass(frozen=True)
class Access:
    """How an API server is reached, by a client certificate; content of files is looked at by the client."""

    server: str
    """URL."""
    authority: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, order=True)
class Conflict:
    """Fields of an object that we would set and that somebody else has set to something else."""

    manager: str
    fields: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.manager} has set {', '.join(self.fields)}"


class ConflictError(RefusedError):
    """Fields belong to another field manager; ``conflicts`` says which to whom."""

    def __init__(self, what: str, conflicts: tuple[Conflict, ...]) -> None:
        told = "; ".join(map(str, conflicts))
        super().__init__(f"{what}: {told}", cure="take the fields out of the manifest, or approve that they be taken")
        self.conflicts = conflicts


class AbsentError(PermanentError):
    """The object, its namespace or its kind is not there."""


class NoSuchKindError(AbsentError):
    """The API server has no objects of this kind."""


class ExpiredError(TemporaryError):
    """What a list was begun from is not kept any more; it has to be begun anew."""


class LeavingError(TemporaryError):
    """The object or its namespace is on its way out: nothing can be made of it until it is gone."""


class UnsureError(TemporaryError):
    """The API server answers, and cannot do this one thing now; others it may."""


class Cluster:
    """One cluster; safe to be used by several threads at a time."""

    def __init__(self, name: str, access: Access | Path, *, patience: timedelta = PATIENCE) -> None:
        """``access``: by certificate, or by a kubeconfig (of an existing cluster).

        Raises:
            PermanentError: the kubeconfig cannot be used.
        """
        self.name = name
        self._patience = patience
        self._server, self._headers, self._rest = _client(name, access)

    def close(self) -> None:
        """Close all connections."""
        self._rest.close()

    def ready(self) -> None:
        """Nothing, if the API server answers and takes us for who we are (errors as ``listed``)."""
        self._ask("GET", "/readyz")

    def listed(self, kind: ObjectKind, *, labels: str = "", namespace: str = "", fields: str = "") -> list[Body]:
        """All objects of a kind with these labels, with apiVersion and kind.

        Raises:
            TemporaryError: the API server does not answer, or is busy.
            PermanentError: it refuses, or knows no such kind (``AbsentError``).
        """
        query = {"labelSelector": labels, "fieldSelector": fields}
        try:
            return list(self._pages(kind, namespace, query))
        except ExpiredError:
            return list(self._pages(kind, namespace, query))

    def _pages(self, kind: ObjectKind, namespace: str, query: Mapping[str, str]) -> Iterator[Body]:
        more = ""
        while True:
            asked = {"limit": str(PAGE), "continue": more, **query}
            page = self._ask("GET", kind.path(namespace), {key: value for key, value in asked.items() if value})
            for each in page.get("items") or ():
                yield {"apiVersion": kind.api, "kind": kind.kind, **each}
            more = str(page["metadata"].get("continue") or "")
            if not more:
                return

    def read(self, kind: ObjectKind, namespace: str, name: str) -> Body | None:
        """One object, or None (errors as ``listed``)."""
        try:
            return self._ask("GET", kind.path(namespace, name))
        except AbsentError:
            return None

    def preview(self, wanted: ClusterObject, *, force: bool = False) -> Body:
        """What the object would be like after it was applied; nothing is changed (errors as ``apply``)."""
        return self._apply(wanted, force=force, dry=True)

    def apply(self, wanted: ClusterObject, *, force: bool = False) -> Body:
        """The object after it was applied. With ``force`` fields are taken from whoever else has them.

        Raises:
            ConflictError: fields are somebody else's.
            AbsentError: its namespace is not there, or there is no such kind (``NoSuchKindError``).
            LeavingError: its namespace is being removed.
            UnsureError: this object cannot be taken now, by whatever the API server asks in turn.
            TemporaryError, PermanentError: as ``listed``; or it is no such object.
        """
        return self._apply(wanted, force=force, dry=False)

    def _apply(self, wanted: ClusterObject, *, force: bool, dry: bool) -> Body:
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower(), "fieldValidation": "Strict"}
        if dry:
            query["dryRun"] = "All"
        path = KINDS[wanted.kind].path(wanted.namespace, wanted.name)
        return self._ask("PATCH", path, query, wanted.body, content="application/apply-patch+yaml")

    def delete(self, kind: ObjectKind, namespace: str, name: str, *, uid: str) -> None:
        """Nothing, once this very object is on its way out, or not there any more (errors as ``listed``).

        What belongs to it goes after it.
        """
        options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        try:
            self._ask("DELETE", kind.path(namespace, name), {}, options)
        except AbsentError:
            return

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        *,
        content: str = "application/json",
    ) -> dict[str, Any]:
        url = f"{self._server}{path}" + (f"?{urlencode(query)}" if query else "")
        # As text where it is YAML by name, which is what applying takes.
        sent = json.dumps(body) if body is not None and content.endswith("yaml") else body
        until = time.monotonic() + self._patience.total_seconds()
        while True:
            status, said, later = self._answer(method, url, sent, content)
            # One that is too busy has not begun with what it turns away.
            if status != BUSY or not later or time.monotonic() + later > until:
                break
            time.sleep(later)
        if status >= 300:
            raise _refusal(self.name, path, status, said)
        return json.loads(said) if said.lstrip().startswith(b"{") else {}

    def _answer(self, method: str, url: str, sent: Body | str | None, content: str) -> tuple[int, bytes, float]:
        """Status and body of the answer, and after how many seconds we are asked to come again; 0 where we are not."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        headers = {"Accept": "application/json", "Content-Type": content, **self._headers}
        try:
            answer = self._rest.request(
                method, url, headers=headers, body=sent, _request_timeout=self._patience.total_seconds()
            )
            said, later = answer.read(), str(answer.headers.get("Retry-After") or "")
        except (HTTPError, ApiException, OSError) as error:
            raise TemporaryError(
                f"cluster {self.name}: its API server does not answer: {_short(error)}",
                cure="see kube-apiserver on the site's controller, or whether the kubeconfig names the right server",
            ) from error
        return answer.status, said, float(later) if later.isdecimal() else 0.0


def _client(name: str, access: Access | Path) -> tuple[str, dict[str, str], "RESTClientObject"]:
    """URL of the API server, headers of every request, and connections to it."""
    from kubernetes.client.configuration import Configuration
    from kubernetes.client.rest import RESTClientObject

    settings = Configuration()
    settings.retries = False
    settings.connection_pool_maxsize = CONNECTIONS
    headers: dict[str, str] = {}
    match access:
        case Access():
            settings.host = access.server
            settings.ssl_ca_cert, settings.cert_file = str(access.authority), str(access.certificate)
            settings.key_file = str(access.key)
        case Path():
            _read_kubeconfig(name, access, settings)
            if token := settings.get_api_key_with_prefix("authorization") or settings.get_api_key_with_prefix(
                "BearerToken"
            ):
                headers["Authorization"] = token
    try:
        return settings.host.rstrip("/"), headers, RESTClientObject(settings)
    except OSError as error:
        raise MissingError(f"cluster {name}: {error}", cure="see that its files are there") from error


def _read_kubeconfig(name: str, path: Path, settings: Any) -> None:
    import yaml
    from kubernetes.config import load_kube_config
    from kubernetes.config.config_exception import ConfigException

    try:
        load_kube_config(config_file=str(path), client_configuration=settings, persist_config=False)
    except (ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PermanentError(
            f"cluster {name}: the kubeconfig {path} cannot be used: {_short(error)}",
            cure="name one with a current context, a server and a user, in the site's kubeconfig",
        ) from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:SAID_MOST] or type(error).__name__


def _refusal(name: str, path: str, status: int, said: bytes) -> PachonError:
    """The error for an answer that is none of the good ones."""
    try:
        told = json.loads(said)
    except ValueError:
        told = {}
    told = told if isinstance(told, dict) else {}
    message = str(told.get("message") or said[:SAID_MOST].decode(errors="replace") or f"status {status}")
    details = told.get("details") or {}
    reasons = {each.get("reason") for each in details.get("causes") or ()}
    causes = [each for each in details.get("causes") or () if each.get("reason") == "FieldManagerConflict"]
    if causes:
        return ConflictError(f"cluster {name}: {path.rpartition('/')[2]}", conflicts_of(causes))
    where = f"cluster {name}: {message}"
    if status == 404 and not details.get("name"):
        return NoSuchKindError(
            f"{where} ({path})", cure="see that the cluster's version, or an extension, has the kind"
        )
    refused, cure = _meaning(status, message, "NamespaceTerminating" in reasons)
    return refused(where, cure=cure)


def _meaning(status: int, message: str, leaving: bool) -> tuple[type[PachonError], str]:
    """What a refusal comes to, and what would lift it."""
    found: tuple[type[PachonError], str] = (PermanentError, "mend the manifest")
    if leaving:
        found = LeavingError, LEAVING_CURE
    elif status == 404:
        found = AbsentError, "see that the namespace and the kind of object are there"
    elif status in (401, 403):
        found = PermanentError, "see the certificate or token that we log in with, and its rights"
    elif status == GONE:
        found = ExpiredError, "try again"
    elif status in UNSURE and not message.startswith(NO_SUCH_FIELDS):
        found = UnsureError, "try again; where it stays so, see what the API server asks in turn"
    elif status in TEMPORARY:
        found = TemporaryError, "try again"
    return found


def conflicts_of(causes: list[dict[str, str]]) -> tuple[Conflict, ...]:
    """Who has set which fields, by the causes that the API server tells."""
    found: dict[str, list[str]] = {}
    for cause in causes:
        message = cause.get("message", "")
        manager = message.split('"')[1] if message.count('"') > 1 else message
        found.setdefault(manager, []).append(cause.get("field", "").lstrip("."))
    return tuple(sorted(Conflict(manager, tuple(sorted(set(fields)))) for manager, fields in found.items()))
