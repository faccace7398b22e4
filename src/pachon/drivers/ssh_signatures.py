"""Signatures over files by people's own SSH keys, as ``ssh-keygen -Y`` makes and checks them."""

from datetime import timedelta
from pathlib import Path

from pachon.drivers import program
from pachon.errors import PermanentError, RefusedError

NAMESPACE = "pachon-plan"
LONGEST = timedelta(minutes=2)
"""A key on a token may want a finger first."""


def sign(path: Path, key: Path, *, namespace: str = NAMESPACE) -> Path:
    """The file with the signature of that key over that file, beside it.

    Raises:
        PermanentError: the key cannot sign.
    """
    signature = path.with_name(path.name + ".sig")
    signature.unlink(missing_ok=True)
    program.call(["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key), str(path)], timeout=LONGEST)
    if not signature.is_file():
        raise PermanentError(
            f"{key} has not signed {path}", cure="give the private key, or its public half with an agent"
        )
    return signature


def signer(path: Path, signers: Path, *, namespace: str = NAMESPACE) -> str:
    """Who of the allowed signers signed that file; their keys and names are as in ssh-keygen(1), ALLOWED SIGNERS.

    Raises:
        RefusedError: nobody of them did.
    """
    signature = path.with_name(path.name + ".sig")
    if not signature.is_file():
        raise RefusedError(f"{path} is not signed", cure="sign it: 'pachon approve FILE --key KEY'")
    asked = ["ssh-keygen", "-Y", "find-principals", "-s", str(signature), "-f", str(signers)]
    found = program.call(asked, timeout=LONGEST, check=False)
    for name in found.stdout.split():
        checked = ["ssh-keygen", "-Y", "verify", "-n", namespace, "-I", name, "-f", str(signers), "-s", str(signature)]
        if program.call(checked, timeout=LONGEST, stdin=path.read_bytes(), check=False).status == 0:
            return name
    raise RefusedError(
        f"{path} is signed by nobody of {signers}, or was changed since",
        cure="have somebody of that file approve the plan: 'pachon approve FILE --key KEY'",
    )
