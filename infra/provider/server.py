"""The gRPC side: translates between the engine and the families, and decides differences.

Everything is asynchronous: the engine may ask for hundreds of resources at once; limits live in ``Context``.
"""

import asyncio
import json
import sys
from typing import Any

import grpc  # type: ignore[import-untyped]  # its stubs are not in the lock
from google.protobuf import empty_pb2  # type: ignore[import-untyped]  # its stubs are not in the lock
from pydantic import ValidationError

from infra.provider import family as doing
from infra.provider.context import Context
from infra.provider.families import family_of
from infra.provider.family import SEEN, Family, Properties
from infra.provider.protocol import plugin_pb2, provider_pb2, provider_pb2_grpc, to_python, to_struct
from pachon.errors import PachonError, UsageError
from pachon.model.hardware import REPLACING, Kind

VERSION = "0.1.0"
MAXIMUM_MESSAGE_BYTES = 400 * 2**20

SCHEMA = json.dumps(
    {"name": "pachon", "version": VERSION, "resources": {kind.value: {"type": "object"} for kind in Kind}}
)


def complaints(family: Family, inputs: Properties) -> list[tuple[str, str]]:
    """(input, what is wrong with it) for everything that is wrong."""
    try:
        family.model.model_validate(inputs)
    except ValidationError as error:
        return [
            (".".join(map(str, wrong["loc"])), f"{wrong['msg']} (got {wrong['input']!r})"[:300])
            for wrong in error.errors()
        ]
    return []


def difference(kind: Kind, old: Properties, new: Properties) -> tuple[list[str], list[str]]:
    """Inputs that differ, and those of them that force a replacement."""
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if "generation" not in changed:
        return changed, []
    forcing = sorted(REPLACING[kind].intersection(changed))
    return changed, forcing or ["generation"]


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """Answers the engine."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def Handshake(self, request: Any, channel: Any) -> Any:  # noqa: D102, N802
        return provider_pb2.ProviderHandshakeResponse()

    async def GetPluginInfo(self, request: Any, channel: Any) -> Any:  # noqa: D102, N802
        return plugin_pb2.PluginInfo(version=VERSION)

    async def GetSchema(self, request: Any, channel: Any) -> Any:  # noqa: D102, N802
        return provider_pb2.GetSchemaResponse(schema=SCHEMA)

    async def CheckConfig(self, request: Any, channel: Any) -> Any:  # noqa: D102, N802
        return provider_pb2.CheckResponse(inputs=request.news)

    async def DiffConfig(self, request: Any, channel: Any) -> Any:  # noqa: D102, N802
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    async def Configure(self, request: Any, channel: Any) -> Any:  # noqa: D102, N802
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    async def Cancel(self, request: Any, channel: Any) -> Any:  # noqa: D102, N802
        return empty_pb2.Empty()

    async def Check(self, request: Any, channel: Any) -> Any:  # noqa: D102, N802
        family = await self._family(request, channel)
        wrong = complaints(family, to_python(request.news))
        failures = [provider_pb2.CheckFailure(property=name, reason=reason) for name, reason in wrong]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    async def Diff(self, request: Any, channel: Any) -> Any:  # noqa: D102, N802
        family = await self._family(request, channel)
        state = to_python(request.olds)
        old = to_python(request.old_inputs) or {key: value for key, value in state.items() if key != SEEN}
        changed, forcing = difference(family.kind, old, to_python(request.news))
        if not changed and family.kind is Kind.HOST and state.get(SEEN, {}).get("on") is False:
            changed = ["on"]
        kinds = provider_pb2.PropertyDiff
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=changed,
            replaces=forcing,
            deleteBeforeReplace=bool(forcing),
            detailedDiff={
                key: kinds(kind=kinds.UPDATE_REPLACE if key in forcing else kinds.UPDATE, inputDiff=True)
                for key in changed
            },
            hasDetailedDiff=True,
        )

    async def Create(self, request: Any, channel: Any) -> Any:  # noqa: D102, N802
        family = await self._family(request, channel)
        inputs = to_python(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=request.properties)
        state = await self._guarded(channel, doing.create(self._context, family, inputs))
        return provider_pb2.CreateResponse(id=inputs["address"], properties=to_struct(state))

    async def Read(self, request: Any, channel: Any) -> Any:  # noqa: D102, N802
        family = await self._family(request, channel)
        inputs = to_python(request.inputs) or self._declared(request.id)
        if inputs is None:
            reason = f"the definition has no {family.kind} with the address {request.id}"
            await channel.abort(grpc.StatusCode.NOT_FOUND, reason)
            raise UsageError(reason)
        try:
            found = await family.read(self._context, inputs)
        except PachonError as error:
            if self._context.run.keep_unseen and request.properties:
                return provider_pb2.ReadResponse(id=request.id, inputs=request.inputs, properties=request.properties)
            await channel.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            raise
        if found is None:
            return provider_pb2.ReadResponse(id="")
        return provider_pb2.ReadResponse(
            id=request.id,
            inputs=to_struct(found.inputs),
            properties=to_struct({**found.inputs, SEEN: found.seen}),
        )

    async def Update(self, request: Any, channel: Any) -> Any:  # noqa: D102, N802
        family = await self._family(request, channel)
        news = to_python(request.news)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=request.news)
        old = to_python(request.old_inputs) or to_python(request.olds)
        old.pop(SEEN, None)
        state = await self._guarded(channel, doing.update(self._context, family, old, news))
        return provider_pb2.UpdateResponse(properties=to_struct(state))

    async def Delete(self, request: Any, channel: Any) -> Any:  # noqa: D102, N802
        family = await self._family(request, channel)
        state = to_python(request.old_inputs) or to_python(request.properties)
        await self._guarded(channel, doing.delete(self._context, family, state))
        return empty_pb2.Empty()

    def _declared(self, address: str) -> Properties | None:
        declared = self._context.run.definition.get(address)
        return None if declared is None else dict(declared.inputs)

    async def _family(self, request: Any, channel: Any) -> Family:
        try:
            return family_of(request.urn)
        except UsageError as error:
            await channel.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            raise

    async def _guarded(self, channel: Any, work: Any) -> Any:
        """What the work answers; our errors as the engine's, with message and cure."""
        try:
            return await work
        except PachonError as error:
            await channel.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            raise


async def serve(context: Context) -> None:
    """Answer the engine until it ends this process; tells it the port on stdout, as the protocol wants."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MAXIMUM_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAXIMUM_MESSAGE_BYTES),
        ]
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(context), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    try:
        await server.wait_for_termination()
    except asyncio.CancelledError:
        await server.stop(grace=None)
        raise
    finally:
        await context.close()
