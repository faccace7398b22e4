"""The Observatory's word on a rollout: a signed yes that lasts for a while, or a signed no that turns it back.

Who may speak for the Observatory is a file of OpenSSH's form beside ``facility.yaml``; signatures are of people's own
SSH keys, over the very bytes that are kept, in a namespace of their own.
"""

import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from pachon.drivers import ssh_signatures
from pachon.errors import RefusedError
from pachon.model.base import Frozen
from pachon.model.rollout_record import Word

SIGNERS = "observatory_signers"
NAMESPACE = "pachon-rollout"


class Saying(Frozen):
    """What is signed."""

    rollout: str
    plan: str
    """Seal of its plan."""
    says: Literal["yes", "no"]
    until: datetime | None
    """A yes holds for waves that begin before."""
    why: str


@dataclass(frozen=True)
class Heard:
    """A word that is the Observatory's."""

    saying: Saying
    by: str
    at: datetime


def deaf(signers: Path | None) -> str:
    """What is lacking to tell the Observatory's words from anybody's; empty if nothing is."""
    if signers is not None and signers.is_file():
        return ""
    return f"the file {SIGNERS} beside facility.yaml: without it nobody can tell what the Observatory has said"


def speak(saying: Saying, key: Path, *, now: datetime) -> Word:
    """The word, signed with that key."""
    with tempfile.TemporaryDirectory(prefix="pachon-word-") as folder:
        file = Path(folder) / "word"
        file.write_text(saying.model_dump_json(indent=1) + "\n")
        signature = ssh_signatures.sign(file, key, namespace=NAMESPACE)
        return Word(document=file.read_text(), signature=signature.read_text(), at=now)


def hear(word: Word, signers: Path, *, rollout: str, plan: str) -> Heard:
    """Who said it, and what.

    Raises:
        RefusedError: nobody who speaks for the Observatory signed it, or it is about something else.
    """
    with tempfile.TemporaryDirectory(prefix="pachon-word-") as folder:
        file = Path(folder) / "word"
        file.write_text(word.document)
        file.with_name("word.sig").write_text(word.signature)
        try:
            by = ssh_signatures.signer(file, signers, namespace=NAMESPACE)
        except RefusedError as error:
            raise RefusedError(
                f"a word on rollout {rollout} is signed by nobody in {signers}",
                cure="have somebody of that file say it, with their own key",
            ) from error
    try:
        saying = Saying.model_validate_json(word.document)
    except ValidationError as error:
        raise RefusedError("what was signed is no word on a rollout", cure="'pachon rollout say' makes one") from error
    if (saying.rollout, saying.plan) != (rollout, plan):
        raise RefusedError(
            f"what {by} signed is about rollout {saying.rollout}", cure=f"'pachon rollout say {rollout} yes --key KEY'"
        )
    return Heard(saying, by, word.at)
