"""The three components of a site. Each takes declarations, parents what it makes, and gives one typed document."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pulumi

from infra.components.resources import Declared
from pachon.model.hardware import Kind, ResourceInputs, StackName
from pachon.model.stack_documents import DOCUMENT, ResourceFacts, StackDocument


@dataclass(frozen=True)
class LayerArgs:
    """What a layer of a site is made from."""

    facility: str
    site: str
    resources: Sequence[ResourceInputs]
    imports: Collection[str] = ()
    """Addresses that are taken over from the world instead of made."""


class _Layer(pulumi.ComponentResource):
    """What the three have in common to Pulumi: a document of all that they made."""

    document: pulumi.Output[str | None]
    """A StackDocument as JSON: the SDK makes a task of every nested value (see ``pachon.model.packing``).

    Unknown where a resource failed.
    """

    def __init__(self, stack: StackName, args: LayerArgs, opts: pulumi.ResourceOptions | None) -> None:
        super().__init__(f"pachon:components:{stack.capitalize()}", f"{args.site}/{stack}", None, opts)
        self._stack: StackName = stack
        self._args = args
        self._made: list[Declared] = []

    def _make(self, declared: ResourceInputs, *needs: Declared) -> Declared:
        made = Declared(declared, needs=needs)
        self._made.append(made)
        return made

    def _finish(self) -> None:
        gathered = asyncio.ensure_future(self._gathered())

        async def known() -> bool:
            return await gathered is not None

        self.document = pulumi.Output(set(), gathered, known())
        self.register_outputs({DOCUMENT: self.document})

    async def _gathered(self) -> str | None:
        """The document as soon as all is made."""
        args = self._args
        parent = str(await self.urn.future())
        facts = await asyncio.gather(*(one.register(parent, imports=args.imports) for one in self._made))
        made = [(one.declared.kind, fact) for one, fact in zip(self._made, facts, strict=True) if fact is not None]
        if len(made) < len(facts):
            return None

        def of(kind: Kind) -> tuple[ResourceFacts, ...]:
            return tuple(fact for own, fact in made if own is kind)

        return StackDocument(
            stack=self._stack,
            facility=args.facility,
            site=args.site,
            machines=of(Kind.MACHINE),
            hosts=of(Kind.HOST),
            networks=of(Kind.NETWORK),
            volumes=of(Kind.VOLUME),
        ).model_dump_json()

    def _machines_and_hosts(self) -> dict[str, Declared]:
        """Hosts by name; each waits for the inspection of its machine."""
        machines: dict[str, Declared] = {}
        hosts: dict[str, Declared] = {}
        for declared in self._args.resources:
            match declared.kind:
                case Kind.MACHINE:
                    machines[str(declared.inputs["serial"])] = self._make(declared)
                case Kind.HOST:
                    machine = machines[str(declared.inputs["serial"])]
                    hosts[str(declared.inputs["host"])] = self._make(declared, machine)
                case Kind.NETWORK | Kind.VOLUME:
                    pass
        return hosts


class Network(_Layer):
    """Switch machines with their hosts, and the segments on them."""

    def __init__(self, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make switches first, then each segment as soon as its switches are up."""
        super().__init__("network", args, opts)
        switches = self._machines_and_hosts()
        for declared in args.resources:
            if declared.kind is Kind.NETWORK:
                self._make(declared, *(switches[switch["host"]] for switch in declared.inputs["switches"]))
        self._finish()


class Compute(_Layer):
    """All other machines with their hosts."""

    def __init__(self, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make them side by side; the provider holds the limits per rack and boot server."""
        super().__init__("compute", args, opts)
        self._machines_and_hosts()
        self._finish()


class Storage(_Layer):
    """Volumes in the storage pools of the site's hosts."""

    def __init__(self, args: LayerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make them side by side; the provider lets one at a time at each host."""
        super().__init__("storage", args, opts)
        for declared in args.resources:
            self._make(declared)
        self._finish()
