"""The private CA of each site, and the certificates that it gives to hosts: X.509 by ``cryptography``.

Kept in ``S/pki``: ``<site>/ca.key`` (only where the site's certificates are issued), ``<site>/ca.crt``, and under
``<site>/issued`` what was issued last to each host, so that it is known without asking the host when one is due.
A host's key never leaves the host; of its request only the key is taken, names are the definition's.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pachon.errors import MissingError, PermanentError
from pachon.model.base import Frozen

CA_DAYS = 3650
HOST_DAYS = 90
RENEWED_BEFORE = timedelta(days=HOST_DAYS) / 3
"""A certificate with less life than this is renewed."""
BACKDATE = timedelta(hours=1)
"""Certificates begin this long ago, for hosts whose clock is a little behind."""
LONGEST_COMMON_NAME = 64
"""Of X.509."""


class Subject(Frozen):
    """Whom a certificate is for."""

    name: str
    """Its fully qualified name, the common name as well."""
    other_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    user: str = ""
    """As whom a program on the host logs in to another, as in ``system:node:a``: then the common name."""
    user_groups: tuple[str, ...] = ()
    """Groups of that user: the certificate's organizations."""

    @property
    def record(self) -> str:
        """What its certificate is kept under."""
        return f"{self.name}+{self.user.replace(':', '-')}" if self.user else self.name


def ensure_site(state: Path, site: str) -> None:
    """Make the site's CA, if not even its certificate is there."""
    folder = state / "pki" / site
    if (folder / "ca.crt").exists():
        return
    with _held(state):
        if (folder / "ca.crt").exists():
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(folder / "ca.key", private, mode=0o600)
        _write(folder / "ca.crt", _own_certificate(key, f"Pachon CA of site {site} of {state.name}"))


def trust_bundle(state: Path, sites: Sequence[str]) -> str:
    """The CA certificates of the sites in PEM: what every host believes."""
    return "".join((state / "pki" / site / "ca.crt").read_text() for site in sorted(sites))


def why_due(
    state: Path, site: str, *, certificate_pem: str, public_key_pem: str, subject: Subject, now: datetime
) -> str:
    """Why the host with this key needs a certificate; empty if the one that it has is good."""
    if not public_key_pem.strip():
        return "it has no key"
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
        key = serialization.load_pem_public_key(public_key_pem.encode())
    except ValueError:
        return "it has no certificate" if not certificate_pem.strip() else "its certificate cannot be read"
    if certificate.public_key() != key:
        return "its certificate is of another key"
    try:
        certificate.verify_directly_issued_by(_authority(state, site))
    except (InvalidSignature, TypeError, ValueError):
        return f"its certificate is not from the CA of site {site}"
    return _why_other(certificate, subject) or _why_old(certificate, now)


def is_due(state: Path, site: str, name: str, now: datetime) -> bool:
    """Whether the certificate that was issued last to the host of this name has to be renewed, or none was."""
    try:
        certificate = x509.load_pem_x509_certificate(_issued(state, site, name).read_bytes())
    except (FileNotFoundError, ValueError):
        return True
    return bool(_why_old(certificate, now))


def issue(state: Path, site: str, *, request_pem: str, subject: Subject, now: datetime) -> str:
    """A certificate in PEM for the key of the request, in the names of ``subject``; kept as issued.

    Raises:
        MissingError: the key of the site's CA is not kept here.
        PermanentError: the request is none, or not signed by its own key.
    """
    try:
        request = x509.load_pem_x509_csr(request_pem.encode())
    except ValueError as error:
        raise PermanentError(
            f"{subject.name} sent no certificate request", cure="see that 'openssl' works on the host"
        ) from error
    if not request.is_signature_valid:
        raise PermanentError(
            f"the request of {subject.name} is not signed by its own key", cure="remove /etc/pachon/pki on the host"
        )
    authority, key = _authority(state, site), _authority_key(state, site)
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        x509.CertificateBuilder()
        .subject_name(_distinguished_of(subject))
        .issuer_name(authority.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + timedelta(days=HOST_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names_wanted(subject)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(request.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    made = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    path = _issued(state, site, subject.record)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    _write(path, made)
    return made.decode()


def client(state: Path, site: str, *, user: str, groups: Sequence[str], now: datetime) -> Path:
    """The file of a certificate by which we log in to a service of the site; its key lies beside it (``.key``).

    Raises:
        MissingError: the key of the site's CA is not kept here.
    """
    subject = Subject(name=f"controller.{site}", user=user, user_groups=tuple(groups))
    path = state / "pki" / site / "clients" / f"{user.replace(':', '-')}.crt"
    with _held(state):
        if path.exists() and not is_due(state, site, subject.record, now):
            return path
        path.parent.mkdir(mode=0o700, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        pem = request.public_bytes(serialization.Encoding.PEM).decode()
        made = issue(state, site, request_pem=pem, subject=subject, now=now)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        # A kill between the two leaves a pair that does not fit: without the certificate both are made anew.
        path.unlink(missing_ok=True)
        _write(path.with_suffix(".key"), private, mode=0o600)
        _write(path, made.encode())
    return path


def _own_certificate(key: ec.EllipticCurvePrivateKey, name: str) -> bytes:
    now, subject = datetime.now(UTC), _distinguished(name)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(identifier, critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _distinguished(name: str) -> x509.Name:
    common = name if len(name) <= LONGEST_COMMON_NAME else name.partition(".")[0]
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:LONGEST_COMMON_NAME])])


def _distinguished_of(subject: Subject) -> x509.Name:
    if not subject.user:
        return _distinguished(subject.name)
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in subject.user_groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, subject.user)])


def _names_wanted(subject: Subject) -> list[x509.GeneralName]:
    names = dict.fromkeys((subject.name, *subject.other_names))
    addresses = dict.fromkeys(subject.addresses)
    return [*(x509.DNSName(name) for name in names), *(x509.IPAddress(ip_address(each)) for each in addresses)]


def _names_of(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _why_other(certificate: x509.Certificate, subject: Subject) -> str:
    if _names_of(certificate) != _names_wanted(subject):
        return "its names or addresses are others"
    return "" if certificate.subject == _distinguished_of(subject) else "it is for another user"


def _why_old(certificate: x509.Certificate, now: datetime) -> str:
    if certificate.not_valid_before_utc > now:
        return f"its certificate begins only on {certificate.not_valid_before_utc:%F}"
    left = certificate.not_valid_after_utc - now
    return f"its certificate ends on {certificate.not_valid_after_utc:%F}" if left < RENEWED_BEFORE else ""


def _authority(state: Path, site: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((state / "pki" / site / "ca.crt").read_bytes())


def _authority_key(state: Path, site: str) -> ec.EllipticCurvePrivateKey:
    path = state / "pki" / site / "ca.key"
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError as error:
        raise MissingError(
            f"the key of the CA of site {site} is not kept here", cure=f"issue from the controller of site {site}"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PermanentError(f"{path} is no key of ours", cure="put the site's CA key back from its backup")
    return key


def _issued(state: Path, site: str, name: str) -> Path:
    return state / "pki" / site / "issued" / f"{name}.crt"


def _write(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace the file at once."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


@contextmanager
def _held(state: Path) -> Iterator[None]:
    """One maker of CAs at a time, across processes."""
    folder = state / "pki"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
