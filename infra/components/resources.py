"""Resources of our own provider, registered with the engine in calls that do not wait for one another.

The SDK's own way makes a thread for each registration and a task for each value; here a resource is one message out
and one back. So a resource is no ``CustomResource``: nothing but its component knows it.
"""

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc  # type: ignore[import-untyped]  # its stubs are not in the lock
from pulumi.runtime import settings
from pulumi.runtime.proto import resource_pb2

from pachon.model.hardware import ResourceInputs
from pachon.model.packing import DETAIL, pack, unpack
from pachon.model.stack_documents import ResourceFacts

VERSION = "0.1.0"
"""Of the provider plug-in."""

_Request = resource_pb2.RegisterResourceRequest


@dataclass(eq=False)
class Declared:
    """A machine, host, network or volume, named by its address, and what it waits for."""

    declared: ResourceInputs
    needs: Sequence["Declared"] = ()
    _answer: "asyncio.Future[Any]" = field(default_factory=lambda: asyncio.get_event_loop().create_future())

    async def register(self, parent: str, *, imports: Collection[str]) -> ResourceFacts | None:
        """What came of it once the engine has carried it out; None if it failed, or was left alone.

        ``imports``: addresses that are taken over from the world instead of made.
        """
        try:
            needed = [(await need._answer).urn for need in self.needs]
            answer = await _called(self._request(parent, needed, imports))
        except BaseException as error:
            self._answer.set_exception(error)
            self._answer.exception()  # it is raised here, and may have nobody who waits for it there
            raise
        self._answer.set_result(answer)
        if answer.result != resource_pb2.Result.SUCCESS:
            return None
        declared = self.declared
        detail = answer.object.fields[DETAIL].string_value if DETAIL in answer.object.fields else ""
        seen = unpack({DETAIL: detail}).get("seen") if detail else None
        facts = {**declared.inputs, "seen": seen or {}}
        return ResourceFacts(address=declared.address, generation=declared.generation, facts=facts)

    def _request(self, parent: str, needed: list[str], imports: Collection[str]) -> Any:
        declared = self.declared
        request = _Request(
            type=declared.kind.value,
            name=declared.address,
            parent=parent,
            custom=True,
            dependencies=needed,
            version=VERSION,
            importId=declared.address if declared.address in imports else "",
            acceptSecrets=True,
            acceptResources=True,
            supportsPartialValues=True,
            supportsResultReporting=True,
        )
        for key, value in pack(declared.inputs).items():
            request.object.fields[key].string_value = value
            request.propertyDependencies[key].SetInParent()  # on nothing: else the engine takes it for on all needs
        return request


def _called(request: Any) -> Awaitable[Any]:
    """The engine's answer to a registration; the SDK's own error when the engine has gone."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    method = getattr(settings.get_monitor(), "RegisterResource")  # noqa: B009 - it has no type
    if not hasattr(method, "future"):  # mocks answer at once
        future.set_result(method(request))
        return future

    def settle(call: Any) -> None:
        if future.done():
            return
        try:
            future.set_result(call.result())
        except grpc.RpcError as error:
            future.set_exception(settings.grpc_error_to_exception(error))

    method.future(request).add_done_callback(lambda call: loop.call_soon_threadsafe(settle, call))
    return future
