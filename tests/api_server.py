"""A real API server and its etcd as ordinary processes on loopback: what tests of clusters speak to.

No controllers, no nodes: what those would say, tests write into an object's status themselves.
"""

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from infra.toolchain import obtain, programs
from pachon import places
from pachon.drivers import pki
from pachon.drivers.kubernetes import Access, Cluster
from pachon.errors import PachonError
from pachon.progress import silent

SITE = "here"
START_SECONDS = 240.0
TRIES = 4
"""A port that was free may be taken before the server has it."""


class NotStartedError(Exception):
    """One of the two ended at once."""


def program() -> Path:
    """The program that both are; it is built where the cache has none, which takes a quarter of an hour, once."""
    return obtain.obtain(programs.table()["kube"], cache=places.cache().absolute(), progress=silent).path


@contextlib.contextmanager
def api_server(*flags: str) -> Iterator[Access]:
    """How the API server, with flags beside those of all, is reached by a certificate that may do everything."""
    kube = program()
    folder = Path(tempfile.mkdtemp(prefix="kube-", dir="/tmp"))
    processes: list[subprocess.Popen[bytes]] = []
    try:
        pki.ensure_site(folder, SITE)
        _certify(folder, "server", user="kube-apiserver")
        access_certificate = _certify(folder, "admin", user="pachon:admin", groups=("system:masters",))
        etcd = "unix://localhost:1"
        arguments = ["--data-dir", f"{folder}/etcd", "--unsafe-no-fsync", "--log-level=error"]
        arguments += [f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}"]
        peers = "unix://localhost:2"
        arguments += [f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}"]
        processes.append(_started(folder, kube, "etcd", *arguments, f"--initial-cluster=default={peers}"))
        server = _serving(folder, kube, etcd, access_certificate, processes, flags)
        yield _access(folder, server, access_certificate)
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _serving(
    folder: Path,
    kube: Path,
    etcd: str,
    certificate: Path,
    processes: list[subprocess.Popen[bytes]],
    flags: Sequence[str],
) -> str:
    for _ in range(TRIES):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = int(probe.getsockname()[1])
        server = f"https://127.0.0.1:{port}"
        process = _started(folder, kube, "kube-apiserver", *_flags(folder, etcd, port), *flags)
        processes.append(process)
        try:
            _wait_until_ready(process, _access(folder, server, certificate))
        except NotStartedError:
            continue
        return server
    said = "\n".join((folder / f"{part}.log").read_text()[-2000:] for part in ("etcd", "kube-apiserver"))
    raise AssertionError(f"the API server does not start: {said}")


def _flags(folder: Path, etcd: str, port: int) -> list[str]:
    return [
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--client-ca-file={folder}/pki/{SITE}/ca.crt",
        f"--tls-cert-file={folder}/server.crt",
        f"--tls-private-key-file={folder}/server.key",
        "--authorization-mode=RBAC",
        "--anonymous-auth=false",
        "--disable-admission-plugins=ServiceAccount",  # nobody makes the account that each pod would need
        "--endpoint-reconciler-type=none",
        "--service-account-issuer=https://test",
        f"--service-account-key-file={folder}/server.crt",
        f"--service-account-signing-key-file={folder}/server.key",
        "--service-cluster-ip-range=10.96.0.0/16",
        f"--cert-dir={folder}/certificates",
    ]


def _started(folder: Path, kube: Path, part: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Ends with the process that runs the tests, however that ends."""
    with (folder / f"{part}.log").open("ab") as log:
        argv = ["setpriv", "--pdeathsig", "KILL", str(kube), part, *arguments]
        return subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _wait_until_ready(process: subprocess.Popen[bytes], access: Access) -> None:
    cluster = Cluster("test", access)
    until, said = time.monotonic() + START_SECONDS, ""
    try:
        while time.monotonic() < until:
            if process.poll() is not None:
                raise NotStartedError
            try:
                cluster.ready()
                return
            except PachonError as error:
                said = str(error)
                time.sleep(0.2)
    finally:
        cluster.close()
    raise AssertionError(f"the API server is not ready: {said}")


def logged_in(access: Access, user: str, *groups: str) -> Access:
    """The same as somebody else, by a certificate of theirs."""
    certificate = _certify(access.authority.parents[2], user, user=user, groups=groups)
    return Access(access.server, access.authority, certificate, certificate.with_suffix(".key"))


def compact(access: Access) -> None:
    """Have etcd keep nothing but what is, so that no list of before can be gone on with."""
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(str(access.authority.parents[2] / "localhost:1"))
        asking = http.client.HTTPConnection("localhost")
        asking.sock = wire

        def ask(path: str, **what: object) -> dict[str, Any]:
            asking.request("POST", f"/v3/kv/{path}", json.dumps(what))
            return dict(json.loads(asking.getresponse().read()))

        revision = ask("range", key="AA==")["header"]["revision"]
        ask("compaction", revision=revision, physical=True)


def _access(folder: Path, server: str, certificate: Path) -> Access:
    return Access(server, folder / "pki" / SITE / "ca.crt", certificate, certificate.with_suffix(".key"))


def _certify(folder: Path, name: str, *, user: str, groups: tuple[str, ...] = ()) -> Path:
    """Path of a certificate; its key lies beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    subject = pki.Subject(name="localhost", addresses=("127.0.0.1",), user=user, user_groups=groups)
    pem = request.public_bytes(serialization.Encoding.PEM).decode()
    made = pki.issue(folder, SITE, request_pem=pem, subject=subject, now=datetime.now(UTC))
    path = folder / f"{name}.crt"
    path.write_text(made)
    path.with_suffix(".key").write_bytes(private)
    return path


def kubeconfig(access: Access, *, token: str = "") -> str:
    """What leads to it: by the certificate, or by a token that it may not know."""
    user = f"{{token: {token}}}" if token else f"{{client-certificate: {access.certificate}, client-key: {access.key}}}"
    return (
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        f"clusters: [{{name: c, cluster: {{server: '{access.server}', certificate-authority: {access.authority}}}}}]\n"
        f"users: [{{name: u, user: {user}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
    )
