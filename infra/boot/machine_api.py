"""What machines may ask of the boot service: the deploy image and OS images over HTTP, everything else over HTTPS.

Addresses with tokens are never logged. Who has no live token gets 404 and no word about why.
"""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from pydantic import TypeAdapter, ValidationError

from infra.boot import deploys, media
from infra.boot.deploys import Kept, RefusalError
from infra.boot.desk import Desk, etag, log
from infra.boot.orders import Hello, State
from pachon.errors import PermanentError
from pachon.model.base import Frozen

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CURES = {
    "network": "see the cabling of its boot NIC and the boot service's log",
    "disk": "see the disk's serial and size in the hardware tables, and the disk itself",
    "image": "run again; if it stays, bake the images again ('pachon' names the digest)",
}
DEFAULT_CURE = "see the machine's console, mend what it says, and run again"


class Moved(Frozen):
    """How far the machine is."""

    session: str
    phase: str
    fraction: float | None = None
    message: str = ""


class Keys(Frozen):
    """Public host keys."""

    session: str
    public_keys: tuple[str, ...]


class Finished(Frozen):
    """Everything is on the disk."""

    session: str
    phases: dict[str, float]


class Gone(Frozen):
    """It did not work."""

    session: str
    phase: str
    message: str
    kind: str = ""


def plain(desk: Desk) -> web.Application:
    """The HTTP application: files only."""
    application = web.Application()
    application.router.add_get("/deploy/{token}/deploy.efi", partial(_deploy_image, desk))
    application.router.add_get("/deploy/{token}/media.img", partial(_media_image, desk))
    application.router.add_get("/artefact/{digest}", partial(_artefact, desk), allow_head=False)
    return application


def secure(desk: Desk) -> web.Application:
    """The HTTPS application: orders, progress, host keys, the end."""
    application = web.Application(client_max_size=1 << 20)
    for name, handler in (
        ("hello", _hello),
        ("progress", _progress),
        ("host-keys", _host_keys),
        ("done", _done),
        ("failed", _failed),
    ):
        application.router.add_post(f"/v1/{{token}}/{name}", _spoken(desk, handler))
    return application


async def _deploy_image(desk: Desk, request: web.Request) -> web.StreamResponse:
    kept = _unused(desk, request)
    machine = desk.machine(kept.order.serial)
    if request.remote != str(machine.address):
        reason = f"the deploy image of {machine.serial} was asked for from {request.remote}, not {machine.address}"
        desk.refuse(kept, RefusalError(reason, cure="find what has that address", fails=False))
        raise web.HTTPNotFound
    desk.touch(machine.serial)
    response = await _send(desk, request, desk.slot)
    if request.method == "GET":
        now = desk.records.get(machine.serial)
        if now is not None and now.deploy.id == kept.deploy.id:
            desk.change(now, deploys.fetched(now.deploy))
    return response


async def _media_image(desk: Desk, request: web.Request) -> web.StreamResponse:
    kept = _unused(desk, request)
    machine = desk.machine(kept.order.serial)
    allowed = {str(machine.bmc_address), str(machine.address), str(desk.settings.bind_address)}
    if request.remote not in allowed:
        reason = f"the virtual medium of {machine.serial} was asked for from {request.remote}"
        desk.refuse(kept, RefusalError(reason, cure="find what has that address", fails=False))
        raise web.HTTPNotFound
    desk.touch(machine.serial)
    return await _send(desk, request, await desk.disk_image())


def _unused(desk: Desk, request: web.Request) -> Kept:
    kept = desk.deploy_of_token(request.match_info["token"])
    if kept is None or kept.deploy.state not in (State.WAITING, State.FETCHED):
        raise web.HTTPNotFound
    return kept


async def _send(desk: Desk, request: web.Request, slot: media.Slot) -> web.StreamResponse:
    token = request.match_info["token"]
    response = web.StreamResponse(headers={"ETag": f'"{etag(desk.settings, token)}"'})
    response.content_type = "application/efi" if slot is desk.slot else "application/octet-stream"
    response.content_length = slot.path.stat().st_size
    await response.prepare(request)
    if request.method != "HEAD":
        for chunk in media.chunks(slot, media.patch(slot, desk.command_line(token))):
            await response.write(chunk)
    await response.write_eof()
    return response


async def _artefact(desk: Desk, request: web.Request) -> web.StreamResponse:
    kept = desk.records.by_address(desk.serials, request.remote or "")
    if kept is None or kept.deploy.state is not State.DEPLOYING:
        raise web.HTTPNotFound
    file = next(
        (file for file in (kept.order.image, kept.order.kernel) if file.digest == request.match_info["digest"]), None
    )
    if file is None or not file.path.is_file():
        raise web.HTTPNotFound
    desk.touch(kept.order.serial)
    give_back = await desk.turn(kept.order.serial, request.transport)
    if give_back is None:
        return web.Response(status=503, headers={"Retry-After": "1"})
    return _Turn(file.path, give_back)


class _Turn(web.FileResponse):
    """A file (sent by the kernel, not through Python), whose place among the streams is given back at the end."""

    def __init__(self, path: Path, give_back: Callable[[], None]) -> None:
        super().__init__(path)
        self._give_back = give_back

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it all."""
        try:
            return await super().prepare(request)
        finally:
            self._give_back()


def _spoken(desk: Desk, handler: Callable[[Desk, Kept, web.Request, Any], Awaitable[dict[str, Any]]]) -> Handler:
    """The handler, given the deploy of the token; refusals become 403 with reason and cure."""

    async def handle(request: web.Request) -> web.StreamResponse:
        token = request.match_info["token"]
        if desk.deploy_of_token(token) is None:
            raise web.HTTPNotFound
        body = await request.read()
        kept = desk.deploy_of_token(token)
        if kept is None:
            raise web.HTTPNotFound
        try:
            return web.json_response(await handler(desk, kept, request, json.loads(body)))
        except RefusalError as refusal:
            now = desk.records.get(kept.order.serial)
            if now is not None and now.deploy.id == kept.deploy.id:
                desk.refuse(now, refusal)
            return web.json_response({"error": refusal.message, "cure": refusal.cure}, status=403)
        except (ValidationError, ValueError) as error:
            log.warning("%s: said something unreadable: %s", kept.order.serial, type(error).__name__)
            return web.json_response({"error": "unreadable", "cure": "bake the images again"}, status=400)
        except PermanentError as error:
            return web.json_response({"error": error.message, "cure": error.cure}, status=403)

    return handle


async def _hello(desk: Desk, kept: Kept, request: web.Request, said: Any) -> dict[str, Any]:
    return desk.greet(kept, TypeAdapter(Hello).validate_python(said), source=request.remote or "")


def _proven(desk: Desk, kept: Kept, request: web.Request, session: str) -> None:
    deploys.heard(kept.deploy, session=session)
    if request.remote != str(desk.machine(kept.order.serial).address):
        raise RefusalError(
            f"{request.remote} spoke for {kept.order.serial}", cure="find what has that address", fails=False
        )


async def _progress(desk: Desk, kept: Kept, request: web.Request, said: Any) -> dict[str, Any]:
    moved = Moved.model_validate(said)
    _proven(desk, kept, request, moved.session)
    desk.change(
        kept,
        deploys.moved(kept.deploy, phase=moved.phase, fraction=moved.fraction, message=moved.message),
        durable=False,
    )
    return {}


async def _host_keys(desk: Desk, kept: Kept, request: web.Request, said: Any) -> dict[str, Any]:
    keys = Keys.model_validate(said)
    _proven(desk, kept, request, keys.session)
    return {"certificates": list(desk.sign(kept, list(keys.public_keys)))}


async def _done(desk: Desk, kept: Kept, request: web.Request, said: Any) -> dict[str, Any]:
    finished = Finished.model_validate(said)
    if kept.deploy.state is State.DONE and deploys.digest(finished.session) == kept.deploy.session_sha256:
        return {}
    _proven(desk, kept, request, finished.session)
    desk.change(kept, deploys.finished(kept.deploy, phases=finished.phases))
    return {}


async def _failed(desk: Desk, kept: Kept, request: web.Request, said: Any) -> dict[str, Any]:
    gone = Gone.model_validate(said)
    _proven(desk, kept, request, gone.session)
    error = f"deploy of {kept.order.host} on {kept.order.serial} failed in phase {gone.phase}: {gone.message}"
    desk.change(kept, deploys.failed(kept.deploy, error=error, cure=CURES.get(gone.kind, DEFAULT_CURE)))
    return {}
