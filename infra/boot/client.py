"""The provider's side of the boot service: order a deploy, watch it, take its host's trust back."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from infra.boot.orders import Deploy, Order, State
from pachon.drivers.http import aiohttp
from pachon.errors import PermanentError, TemporaryError
from pachon.processes.sockets import short_path

POLL_SECONDS = 0.3
ANSWER_SECONDS = 10.0

OnProgress = Callable[[Deploy], None]


class BootClient:
    """Speaks to the boot service of one site through its admin socket; survives the service's restart."""

    def __init__(self, socket_path: Path, *, patience: timedelta = timedelta(seconds=20)) -> None:
        self._path = socket_path
        self._patience = patience

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def deploy(self, order: Order, *, afresh: bool = False) -> Deploy:
        """The deploy of this order, waiting until its rack has room.

        A deploy of the same generation that is live or done is returned as it is; ``afresh`` starts a new one all the
        same (its host is known to be gone).

        Raises:
            PermanentError: the service refuses the order.
            TemporaryError: the service does not answer.
        """
        query = "?afresh=yes" if afresh else ""
        while True:
            status, answer = await self._ask("PUT", f"/v1/deploys/{order.serial}{query}", order.model_dump(mode="json"))
            if status != 429:
                return Deploy.model_validate(_checked(status, answer))
            await asyncio.sleep(POLL_SECONDS)

    async def get(self, serial: str) -> Deploy | None:
        """What is known of this machine's deploy; None if nothing was ordered."""
        status, answer = await self._ask("GET", f"/v1/deploys/{serial}")
        return None if status == 404 else Deploy.model_validate(_checked(status, answer))

    async def all(self) -> list[Deploy]:
        """All deploys of the site."""
        status, answer = await self._ask("GET", "/v1/deploys")
        return [Deploy.model_validate(each) for each in _checked(status, answer)]

    async def wait(self, serial: str, on_progress: OnProgress | None = None) -> Deploy:
        """The deploy once its machine is restarting from its disk.

        Raises:
            TemporaryError: the machine fell silent; another boot of it may do.
            PermanentError: it failed; with what the machine or the service said, and the cure.
        """
        shown: tuple[object, ...] = ()
        while True:
            deploy = await self.get(serial)
            if deploy is None:
                raise PermanentError(f"the deploy of {serial} was revoked while it ran", cure="run again")
            if deploy.state is State.FAILED:
                raise (TemporaryError if deploy.silent else PermanentError)(deploy.error, cure=deploy.cure)
            seen = (deploy.state, deploy.phase, deploy.fraction, deploy.message)
            if on_progress is not None and seen != shown:
                on_progress(deploy)
                shown = seen
            if deploy.state is State.DONE:
                return deploy
            await asyncio.sleep(POLL_SECONDS)

    async def revoke(self, serial: str) -> None:
        """Forget the deploy; the host keys it had are never believed again."""
        _checked(*await self._ask("DELETE", f"/v1/deploys/{serial}"))

    async def media_path(self, serial: str) -> Path:
        """A file with the virtual medium of a deploy that waits for its machine (``media_url`` needs no file)."""
        return Path(_checked(*await self._ask("POST", f"/v1/deploys/{serial}/media"))["media_path"])

    async def health(self) -> dict[str, Any]:
        """Site and settings digest of the service that answers."""
        answer: dict[str, Any] = _checked(*await self._ask("GET", "/v1/health"))
        return answer

    async def _ask(self, verb: str, path: str, body: object = None) -> tuple[int, Any]:
        end = asyncio.get_running_loop().time() + self._patience.total_seconds()
        while True:
            try:
                with short_path(self._path) as name:
                    connector = aiohttp.UnixConnector(path=name)
                    limit = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
                    async with (
                        aiohttp.ClientSession(connector=connector, timeout=limit) as session,
                        session.request(verb, f"http://boot{path}", json=body) as response,
                    ):
                        return response.status, await response.json()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                if asyncio.get_running_loop().time() >= end:
                    raise TemporaryError(
                        f"the boot service does not answer at {self._path}: {type(error).__name__}",
                        cure=f"see {self._path.parent / 'log'}; 'pachon up' starts it again",
                    ) from error
                await asyncio.sleep(POLL_SECONDS)


def _checked(status: int, answer: Any) -> Any:
    if status >= 400:
        raise PermanentError(f"the boot service refuses: {answer['error']}", cure=answer.get("cure", ""))
    return answer
