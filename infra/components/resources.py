"""Resources of our own provider as Pulumi sees them: any of the four families from one typed declaration."""

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

    def facts(self, detail: str | None) -> ResourceFacts:
        """What is known of the resource once ``detail`` is."""
        declared = self.declared
        seen = unpack({DETAIL: detail}).get("seen") if detail else None
        facts = {**declared.inputs, "seen": seen or {}}
        return ResourceFacts(address=declared.address, generation=declared.generation, facts=facts)
