"""Resources of our own provider as Pulumi sees them: any of the four families from one typed declaration."""

from typing import Any

import pulumi

from pachon.model.hardware import ResourceInputs
from pachon.model.packing import DETAIL, pack, unpack
from pachon.model.stack_documents import ResourceFacts

VERSION = "0.1.0"
"""Of the provider plug-in."""


class Declared(pulumi.CustomResource):
    """A machine, host, network or volume, named by its address."""

    detail: pulumi.Output[str]
    """All properties but address and generation, packed, and among them what the provider has seen."""
    generation: pulumi.Output[str]

    def __init__(self, declared: ResourceInputs, *, opts: pulumi.ResourceOptions) -> None:
        """Register it; all inputs are known beforehand, so a preview is exact."""
        self.declared = declared
        super().__init__(
            declared.kind.value,
            declared.address,
            pack(declared.inputs),
            pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(version=VERSION)),
        )

    @property
    def facts(self) -> pulumi.Output[dict[str, Any]]:
        """The resource as ``ResourceFacts``, once it is there."""
        declared = self.declared

        def gathered(detail: str | None) -> dict[str, Any]:
            seen = unpack({DETAIL: detail}).get("seen") if detail else None
            facts = {**declared.inputs, "seen": seen or {}}
            return ResourceFacts(address=declared.address, generation=declared.generation, facts=facts).model_dump(
                mode="json"
            )

        return self.detail.apply(gathered)
