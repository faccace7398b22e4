"""The compute stack: the machines of a site and the hosts on them."""

from collections.abc import Collection, Mapping

import pulumi

from infra.components.layers import Compute, LayerArgs
from pachon.model.facility import Facility
from pachon.model.hardware import ImageFacts, inputs_of
from pachon.model.stack_documents import DOCUMENT, StackDocument

Document = StackDocument
"""Type of the one output, which is it as JSON text."""


def program(facility: Facility, site: str, images: Mapping[str, ImageFacts], imports: Collection[str] = ()) -> None:
    """Declare the stack; ``images`` by flavour, ``imports``: what is taken over from the world instead of made."""
    resources = inputs_of(facility, site, images)["compute"]
    layer = Compute(LayerArgs(facility=facility.name, site=site, resources=resources, imports=imports))
    pulumi.export(DOCUMENT, layer.document)
