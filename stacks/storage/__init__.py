"""The storage stack: the volumes of a site."""

from collections.abc import Mapping

import pulumi

from infra.components.layers import LayerArgs, Storage
from pachon.model.facility import Facility
from pachon.model.hardware import ImageFacts, inputs_of
from pachon.model.stack_documents import DOCUMENT, StackDocument

Document = StackDocument
"""Type of the one output, which is it as JSON text."""


def program(facility: Facility, site: str, images: Mapping[str, ImageFacts]) -> None:
    """Declare the stack; ``images`` by flavour."""
    resources = inputs_of(facility, site, images)["storage"]
    layer = Storage(LayerArgs(facility=facility.name, site=site, resources=resources))
    pulumi.export(DOCUMENT, layer.document)
