"""Many BMCs at once: every machine gets its own answer or its own error, and open connections stay few."""

import asyncio
from collections.abc import Callable, Iterable

from pydantic import SecretStr

from pachon.drivers.redfish.bmc import LIMITS, Bmc
from pachon.drivers.redfish.inventory import Inventory
from pachon.drivers.redfish.quirks import STANDARD, Quirks
from pachon.drivers.redfish.wire import Endpoint, Limits
from pachon.errors import PachonError, PermanentError
from pachon.model.base import Frozen
from pachon.model.facility import Serial


class Target(Frozen):
    """A machine to inspect and how its BMC is reached."""

    serial: Serial
    endpoint: Endpoint
    tls_sha256: str = ""
    quirks: Quirks = STANDARD


Told = Callable[[Serial, "Inventory | PachonError"], None]


async def inspect_all(
    targets: Iterable[Target],
    username: str,
    password: SecretStr,
    *,
    concurrency: int = 64,
    limits: Limits = LIMITS,
    told: Told | None = None,
) -> dict[Serial, Inventory | PachonError]:
    """Inventory or error of every machine. At most two connections for each of ``concurrency`` BMCs are open at once.

    ``told`` hears of each machine as soon as it is known.
    """
    queue = list(targets)[::-1]
    results: dict[Serial, Inventory | PachonError] = {}

    async def inspect(target: Target) -> Inventory | PachonError:
        try:
            async with Bmc(
                target.endpoint,
                username,
                password,
                tls_sha256=target.tls_sha256,
                serial=target.serial,
                quirks=target.quirks,
                limits=limits,
            ) as bmc:
                return await bmc.inspect()
        except PachonError as error:
            return error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            failure = PermanentError(
                f"BMC {target.endpoint.host}:{target.endpoint.port} describes the machine in a way that cannot be "
                f"read: {error}",
                cure="update the BMC's firmware, or give its model a row among the quirks",
            )
            failure.__cause__ = error
            return failure

    async def work() -> None:
        while queue:
            target = queue.pop()
            results[target.serial] = result = await inspect(target)
            if told is not None:
                told(target.serial, result)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(queue))):
            group.create_task(work())
    return results
