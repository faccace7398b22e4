"""The private CA of a site: whose certificates hosts get, and when they get another."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pachon.drivers import pki
from pachon.errors import MissingError, PermanentError

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
SUBJECT = pki.Subject(name="a.test", other_names=("a",), addresses=("198.18.0.5",))


class HostKey:
    """What a host has on its disk."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public(self) -> str:
        pem = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(serialization.Encoding.PEM, pem).decode()

    @property
    def request(self) -> str:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "whoever")])
        names = x509.SubjectAlternativeName([x509.DNSName("someone-else.test")])
        builder = x509.CertificateSigningRequestBuilder().subject_name(name).add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    for site in ("base", "archive"):
        pki.ensure_site(tmp_path, site)
    return tmp_path


def issued(state: Path, key: HostKey, site: str = "base") -> str:
    return pki.issue(state, site, request_pem=key.request, subject=SUBJECT, now=NOW)


def why(state: Path, key: HostKey, certificate: str, *, subject: pki.Subject = SUBJECT, days: float = 0) -> str:
    return pki.why_due(
        state,
        "base",
        certificate_pem=certificate,
        public_key_pem=key.public,
        subject=subject,
        now=NOW + timedelta(days=days),
    )


def test_names_are_the_definitions_not_those_of_the_request(state: Path) -> None:
    certificate = x509.load_pem_x509_certificate(issued(state, HostKey()).encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.test", "a"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["198.18.0.5"]
    assert certificate.subject.rfc4514_string() == "CN=a.test"


def test_a_good_certificate_is_left_alone_until_a_third_of_its_life_is_left(state: Path) -> None:
    key = HostKey()
    certificate = issued(state, key)
    assert why(state, key, certificate) == ""
    assert why(state, key, certificate, days=59) == ""
    assert "ends on" in why(state, key, certificate, days=61)
    assert not pki.is_due(state, "base", "a.test", NOW + timedelta(days=59))
    assert pki.is_due(state, "base", "a.test", NOW + timedelta(days=61))
    assert pki.is_due(state, "base", "nobody.test", NOW)


def test_what_is_wrong_with_a_certificate_is_said(state: Path) -> None:
    key = HostKey()
    other = SUBJECT.model_copy(update={"addresses": ("198.18.0.6",)})
    assert why(state, key, "") == "it has no certificate"
    assert why(state, key, "rubbish") == "its certificate cannot be read"
    assert "another key" in why(state, HostKey(), issued(state, key))
    assert "not from the CA of site base" in why(state, key, issued(state, key, "archive"))
    assert "names or addresses" in why(state, key, issued(state, key), subject=other)
    assert "begins only" in why(state, key, issued(state, key), days=-1)


def test_the_bundle_has_the_authorities_of_all_sites_and_stays_the_same(state: Path) -> None:
    before = pki.trust_bundle(state, ["base", "archive"])
    pki.ensure_site(state, "base")
    assert pki.trust_bundle(state, ["archive", "base"]) == before
    assert before.count("BEGIN CERTIFICATE") == 2
    assert (state / "pki" / "base" / "ca.key").stat().st_mode & 0o077 == 0


def test_a_site_whose_key_is_kept_elsewhere_issues_nothing_here(state: Path) -> None:
    (state / "pki" / "base" / "ca.key").unlink()
    pki.ensure_site(state, "base")
    with pytest.raises(MissingError, match="not kept here"):
        issued(state, HostKey())


def test_what_is_no_request_is_refused(state: Path) -> None:
    with pytest.raises(PermanentError, match="no certificate request"):
        pki.issue(state, "base", request_pem="openssl: not found", subject=SUBJECT, now=NOW)


def test_a_user_of_a_host_has_a_certificate_of_its_own(state: Path) -> None:
    key = HostKey()
    user = SUBJECT.model_copy(update={"user": "system:node:a", "user_groups": ("system:nodes",)})
    certificate = pki.issue(state, "base", request_pem=key.request, subject=user, now=NOW)
    made = x509.load_pem_x509_certificate(certificate.encode())
    assert made.subject.rfc4514_string() == "CN=system:node:a,O=system:nodes"
    assert why(state, key, certificate, subject=user) == ""
    assert why(state, key, certificate) == "it is for another user"
    assert why(state, key, issued(state, key), subject=user) == "it is for another user"
    assert not pki.is_due(state, "base", "a.test+system-node-a", NOW)
    assert pki.is_due(state, "base", "other.test", NOW)


def logged_in(state: Path, *, days: int = 0) -> Path:
    """The certificate by which we log in to a cluster."""
    groups = ("system:masters",)
    return pki.client(state, "base", user="pachon:controller", groups=groups, now=NOW + timedelta(days=days))


def test_we_log_in_by_a_certificate_that_is_made_anew_when_it_is_due_and_not_before(state: Path) -> None:
    made = logged_in(state)
    first = made.read_bytes()
    certificate = x509.load_pem_x509_certificate(first)
    assert certificate.subject.rfc4514_string() == "CN=pachon:controller,O=system:masters"
    key = serialization.load_pem_private_key(made.with_suffix(".key").read_bytes(), password=None)
    assert certificate.public_key() == key.public_key()
    assert made.with_suffix(".key").stat().st_mode & 0o777 == 0o600
    assert logged_in(state, days=59).read_bytes() == first
    assert logged_in(state, days=61).read_bytes() != first
