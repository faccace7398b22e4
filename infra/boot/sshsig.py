"""OpenSSH signatures over files (the SSHSIG format of PROTOCOL.sshsig), ed25519 only, without starting ssh-keygen."""

import base64
import hashlib
import textwrap

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_MAGIC = b"SSHSIG"
_BEGIN = "-----BEGIN SSH SIGNATURE-----"
_END = "-----END SSH SIGNATURE-----"
_HASH = b"sha512"


def sign(key: Ed25519PrivateKey, message: bytes, *, namespace: str) -> str:
    """Armoured signature, as ``ssh-keygen -Y sign -n <namespace>`` writes it."""
    signature = key.sign(_signed(message, namespace))
    blob = (
        _MAGIC
        + (1).to_bytes(4, "big")
        + _string(_public(key.public_key()))
        + _string(namespace.encode())
        + _string(b"")
        + _string(_HASH)
        + _string(_string(b"ssh-ed25519") + _string(signature))
    )
    body = "\n".join(textwrap.wrap(base64.b64encode(blob).decode(), 70))
    return f"{_BEGIN}\n{body}\n{_END}\n"


def verify(key: Ed25519PublicKey, message: bytes, armoured: str, *, namespace: str) -> None:
    """Nothing, if this key signed this message in this namespace.

    Raises:
        cryptography.exceptions.InvalidSignature: it did not.
        ValueError: that is no signature in this format.
    """
    text = armoured.strip()
    if not (text.startswith(_BEGIN) and text.endswith(_END)):
        raise ValueError("no SSH signature")
    blob = base64.b64decode("".join(text[len(_BEGIN) : -len(_END)].split()), validate=True)
    head = _MAGIC + (1).to_bytes(4, "big")
    if not blob.startswith(head):
        raise ValueError("no SSH signature of version 1")
    public, named, _, hashing, wrapped = _strings(blob[len(head) :], 5)
    if public != _public(key) or named != namespace.encode() or hashing != _HASH:
        raise ValueError("signed by another key, for another purpose or with another hash")
    kind, signature = _strings(wrapped, 2)
    if kind != b"ssh-ed25519":
        raise ValueError("not an ed25519 signature")
    key.verify(signature, _signed(message, namespace))


def _signed(message: bytes, namespace: str) -> bytes:
    digest = hashlib.sha512(message).digest()
    return _MAGIC + _string(namespace.encode()) + _string(b"") + _string(_HASH) + _string(digest)


def _public(key: Ed25519PublicKey) -> bytes:
    line = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return base64.b64decode(line.split()[1])


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _strings(data: bytes, count: int) -> list[bytes]:
    found = []
    for _ in range(count):
        length = int.from_bytes(data[:4], "big")
        if len(data) < 4 + length:
            raise ValueError("cut short")
        found.append(data[4 : 4 + length])
        data = data[4 + length :]
    return found
