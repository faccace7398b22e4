"""Arguments of a stack's program when it is started by ``pulumi`` in its folder and not by Pachon."""

from collections.abc import Mapping
from pathlib import Path

import pulumi

from pachon.model.base import Frozen
from pachon.model.facility import Facility
from pachon.model.hardware import ImageFacts


class Arguments(Frozen):
    """The document that Pachon keeps of what it last gave a stack (``S/pulumi/arguments/<stack>.json``)."""

    facility: Facility
    site: str
    images: Mapping[str, ImageFacts]


def arguments() -> tuple[Facility, str, Mapping[str, ImageFacts]]:
    """What the file says that the stack's configuration key ``arguments`` names."""
    path = Path(pulumi.Config().require("arguments"))
    given = Arguments.model_validate_json(path.read_text())
    return given.facility, given.site, given.images
