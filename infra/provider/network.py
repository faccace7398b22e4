"""Network: the segment of an enclave at a site, or the management segment, as a bridge with its ports on switch hosts.

The stamp is the alias of the bridge link, kept also in the file that makes the bridge.
"""

import asyncio
from typing import Any

from infra.provider.context import Context
from infra.provider.family import Found, Properties
from infra.provider.host import fencing, is_going
from infra.provider.inputs import NetworkInputs, Switch
from infra.provider.world import HostAt
from pachon.errors import PermanentError, TemporaryError
from pachon.model.hardware import Kind
from pachon.model.stamp import Stamp, parse_stamp


class Networks:
    """The family."""

    kind = Kind.NETWORK
    stage = "network"
    model = NetworkInputs

    async def create(self, context: Context, inputs: Properties) -> Properties:
        """Make the bridge on each switch, or find it made; verified by a read."""
        wanted = NetworkInputs.model_validate(inputs)
        answers = await asyncio.gather(*(self._apply(context, wanted, switch) for switch in wanted.switches))
        return {"switches": {switch.host: answer for switch, answer in zip(wanted.switches, answers, strict=True)}}

    async def read(self, context: Context, inputs: Properties) -> Found | None:
        """The segment where a bridge carries its stamp; a switch without it is missing in what is found.

        Switches that it was given, and that it is not to have, are looked at too.
        """
        wanted = NetworkInputs.model_validate(inputs)
        also = {
            switch.host: switch
            for given in context.given(wanted.address, wanted.generation)
            for switch in NetworkInputs.model_validate(given).switches
            if f"{wanted.site}/host/{switch.host}" in context.run.definition
        }
        for switch in wanted.switches:
            also.pop(switch.host, None)
        wanted = wanted.model_copy(update={"switches": (*wanted.switches, *also.values())})
        answers = await asyncio.gather(*(self._call(context, wanted, switch, "read") for switch in wanted.switches))
        standing: list[dict[str, Any]] = []
        seen: Properties = {}
        generation = ""
        for switch, answer in zip(wanted.switches, answers, strict=True):
            stamp = parse_stamp(str(answer.get("stamp", "")))
            if stamp is not None and stamp.address == wanted.address:
                generation = generation or stamp.generation
                standing.append({**switch.model_dump(mode="json"), "ports": sorted(answer["ports"])})
                seen[switch.host] = answer
        if not standing:
            return None
        return Found({**inputs, "generation": generation, "switches": standing}, {"switches": seen})

    async def update(self, context: Context, old: Properties, new: Properties) -> Properties:
        """Change the ports; a switch that has no part in it any more loses its bridge."""
        before, wanted = NetworkInputs.model_validate(old), NetworkInputs.model_validate(new)
        kept = {switch.host for switch in wanted.switches}
        gone = [switch for switch in before.switches if switch.host not in kept]
        await asyncio.gather(*(self._remove(context, before, switch) for switch in gone))
        return await self.create(context, new)

    async def delete(self, context: Context, inputs: Properties) -> None:
        """Remove the bridges that carry exactly this stamp."""
        wanted = NetworkInputs.model_validate(inputs)
        await asyncio.gather(*(self._remove(context, wanted, switch) for switch in wanted.switches))

    async def _remove(self, context: Context, wanted: NetworkInputs, switch: Switch) -> None:
        """Remove the bridge from a switch; it goes with one that goes itself and does not answer."""
        try:
            await self._call(context, wanted, switch, "remove")
        except TemporaryError:
            if not await is_going(context, f"{wanted.site}/host/{switch.host}"):
                raise

    async def _apply(self, context: Context, wanted: NetworkInputs, switch: Switch) -> dict[str, Any]:
        answer = await self._call(context, wanted, switch, "apply")
        if answer.get("stamp") != str(_stamp(wanted)) or sorted(answer["ports"]) != sorted(switch.ports):
            raise PermanentError(
                f"{wanted.address}: after its change, {wanted.bridge} on {switch.host} has ports "
                f"{', '.join(answer.get('ports', [])) or 'none'} and stamp {answer.get('stamp') or 'none'}",
                cure=f"see 'networkctl status {wanted.bridge}' on {switch.host}",
            )
        return answer

    async def _call(self, context: Context, wanted: NetworkInputs, switch: Switch, verb: str) -> dict[str, Any]:
        call = {
            "verb": verb,
            "stamp": str(_stamp(wanted)),
            "bridge": wanted.bridge,
            "ports": list(switch.ports),
            **fencing(context),
        }
        host = HostAt(site=wanted.site, name=switch.host, domain="", management_address=str(switch.management_address))
        async with context.host_lock(switch.host):
            return await context.world.run_program(host, "segments", call)


def _stamp(wanted: NetworkInputs) -> Stamp:
    return Stamp(address=wanted.address, generation=wanted.generation)
