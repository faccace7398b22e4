"""The certificate of a site's emulated BMCs, apart from their server, which commands that start none need not load."""

import hashlib
import ssl
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pachon.model.base import Frozen


class TlsFiles(Frozen):
    """Certificate and key of a site's BMCs, in PEM."""

    certificate: Path
    key: Path


def ensure_certificate(folder: Path, *, now: datetime) -> TlsFiles:
    """Certificate and key in ``folder`` (``bmc.crt``, ``bmc.key``), made when missing: P-256, signed by itself."""
    files = TlsFiles(certificate=folder / "bmc.crt", key=folder / "bmc.key")
    if files.certificate.exists() and files.key.exists():
        return files
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bmc")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    files.key.touch(mode=0o600)
    files.key.write_bytes(private)
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return files


def fingerprint(certificate: Path) -> str:
    """SHA-256 of a PEM certificate in DER: what clients pin, as 64 hex digits."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()
