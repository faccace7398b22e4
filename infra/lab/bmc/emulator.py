"""The Redfish service of every BMC of a process; the address a connection came in on says which BMC is meant.

The Host header is never trusted. Power actions go to ``Hardware``; everything else is settings in a file.
"""

import asyncio
import json
import logging
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from aiohttp import web
from pydantic import SecretStr

from infra.lab.bmc import changes, documents, media
from infra.lab.bmc.access import Access
from infra.lab.bmc.documents import ROOT, View
from infra.lab.bmc.faults import Faults, FaultTable
from infra.lab.bmc.hardware import BmcSettings, Hardware, PowerState, load, save
from infra.lab.bmc.problems import HEADERS, RefusalError, malformed, not_allowed, not_found, wrong_value
from pachon.errors import PachonError
from pachon.model.facility import Serial

log = logging.getLogger(__name__)

OPEN_PATHS = frozenset({"/redfish", ROOT, f"{ROOT}/odata", f"{ROOT}/$metadata"})
ACTION_WAIT_SECONDS = 1.0
METADATA = (
    '<?xml version="1.0" encoding="UTF-8"?><edmx:Edmx xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx" '
    'Version="4.0"><edmx:DataServices><Schema xmlns="http://docs.oasis-open.org/odata/ns/edm" Namespace="Service">'
    '<EntityContainer Name="Service" Extends="ServiceRoot.v1_16_0.ServiceContainer"/></Schema>'
    "</edmx:DataServices></edmx:Edmx>"
)


class Emulator:
    """Answers requests for all machines of a ``Hardware``."""

    def __init__(
        self,
        hardware: Hardware,
        folder: Path,
        *,
        addresses: Mapping[IPv4Address, Serial],
        users: Mapping[str, SecretStr],
        media_sources: Mapping[Serial, IPv4Address] | None = None,
    ) -> None:
        self._hardware = hardware
        self._folder = folder
        self._by_address = {str(address): serial for address, serial in addresses.items()}
        own = {serial: address for address, serial in addresses.items()}
        self._media_sources = {serial: str(address) for serial, address in (media_sources or own).items()}
        self._access = Access(users, lambda: asyncio.get_running_loop().time())
        self._locks: dict[Serial, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._random = random.Random(20261127)
        self.faults = FaultTable(folder)

    def serial_at(self, address: str) -> Serial | None:
        """The machine whose BMC has this address."""
        return self._by_address.get(address)

    def application(self) -> web.Application:
        """The aiohttp application."""
        application = web.Application(client_max_size=1 << 20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        return application

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        local = request.transport.get_extra_info("sockname") if request.transport is not None else None
        serial = self.serial_at(local[0]) if local else None
        if serial is None:
            return not_found(request.path).response()
        faults = self.faults.of(serial)
        if faults.no_answer:
            await asyncio.sleep(3600)
        if faults.slow_seconds:
            await asyncio.sleep(faults.slow_seconds)
        try:
            if faults.http_500_rate and self._random.random() < faults.http_500_rate:
                raise RefusalError(500, "InternalError", "The request failed due to an internal service error.")
            response = await self._answer(request, serial, faults)
        except RefusalError as problem:
            response = problem.response()
        except PachonError as error:
            response = RefusalError(500, "InternalError", error.message, cure=error.cure).response()
        if faults.garbage_json and isinstance(response.body, bytes) and response.body:
            response.body = response.body[: len(response.body) // 2]
        return response

    async def _answer(self, request: web.Request, serial: Serial, faults: Faults) -> web.Response:
        path = request.path.rstrip("/") or "/"
        opening = path == f"{ROOT}/SessionService/Sessions" and request.method == "POST"
        if path not in OPEN_PATHS and not opening:
            self._access.check(serial, request.headers.get("Authorization"), request.headers.get("X-Auth-Token"))
        match request.method:
            case "GET" | "HEAD":
                return await self._get(request, serial, path, faults)
            case "PATCH":
                return await self._patch(request, serial, path, faults)
            case "POST":
                return await self._post(request, serial, path, faults)
            case "DELETE":
                return await self._delete(serial, path, faults)
            case method:
                raise not_allowed(method, ["GET", "HEAD"])

    async def _view(self, serial: Serial, faults: Faults) -> View:
        facts = self._hardware.facts[serial]
        power = faults.lies_about_power or await self._hardware.power(serial)
        reported = faults.other_serial or facts.machine.serial
        return View(facts, load(self._folder, serial), power, reported, self._access.listing(serial))

    async def _found(self, serial: Serial, path: str, faults: Faults) -> tuple[View, documents.Document]:
        view = await self._view(serial, faults)
        found = documents.document(view, path)
        if found is None:
            raise not_found(path)
        return view, found

    async def _get(self, request: web.Request, serial: Serial, path: str, faults: Faults) -> web.Response:
        if path == f"{ROOT}/$metadata":
            return web.Response(text=METADATA, content_type="application/xml", headers=HEADERS)
        view, found = await self._found(serial, path, faults)
        tag = documents.etag(found)
        if (query := request.query.get("$expand")) is not None:
            if (levels := documents.expand_levels(query)) is None:
                raise RefusalError(400, "QueryParameterValueFormatError", f"'$expand={query}' is not understood.")
            found = documents.expand(view, found, levels=levels, links=query.startswith("*"))
        return _json(found, tag=tag)

    async def _patch(self, request: web.Request, serial: Serial, path: str, faults: Faults) -> web.Response:
        async with self._lock(serial):
            view, found = await self._found(serial, path, faults)
            change = {f"{ROOT}/Systems/{serial}": changes.system, f"{ROOT}/Chassis/{serial}": changes.chassis}.get(path)
            if change is None:
                raise not_allowed("PATCH", ["GET", "HEAD"])
            wanted = request.headers.get("If-Match", "*")
            if wanted != "*" and documents.etag(found) not in [tag.strip() for tag in wanted.split(",")]:
                raise RefusalError(
                    412, "PreconditionFailed", "The ETag does not match.", cure="Read again, then write."
                )
            settings = change(view.settings, await _body(request), datetime.now(UTC))
            if faults.ignores_boot_override:
                kept = ("boot_source", "boot_override", "http_boot_uri")
                settings = settings.model_copy(update={name: getattr(view.settings, name) for name in kept})
            save(self._folder, serial, settings)
            _, after = await self._found(serial, path, faults)
            return _json(after, tag=documents.etag(after))

    async def _post(self, request: web.Request, serial: Serial, path: str, faults: Faults) -> web.Response:
        system, medium = f"{ROOT}/Systems/{serial}", f"{ROOT}/Managers/{documents.MANAGER}/VirtualMedia/Cd"
        if path == f"{ROOT}/SessionService/Sessions":
            return await self._open_session(request, serial)
        if path == f"{system}/Actions/ComputerSystem.Reset":
            await self._reset(serial, changes.reset_type(await _body(request)))
        elif path == f"{medium}/Actions/VirtualMedia.InsertMedia":
            await self._insert(serial, changes.insertion(await _body(request)))
        elif path == f"{medium}/Actions/VirtualMedia.EjectMedia":
            await _body(request)
            await self._eject(serial)
        else:
            await self._found(serial, path, faults)
            raise not_allowed("POST", ["GET", "HEAD"])
        return web.Response(status=204, headers=HEADERS)

    async def _delete(self, serial: Serial, path: str, faults: Faults) -> web.Response:
        sessions = f"{ROOT}/SessionService/Sessions/"
        if path.startswith(sessions):
            if not self._access.close(serial, path.removeprefix(sessions)):
                raise not_found(path)
            return web.Response(status=204, headers=HEADERS)
        await self._found(serial, path, faults)
        raise not_allowed("DELETE", ["GET", "HEAD"])

    async def _open_session(self, request: web.Request, serial: Serial) -> web.Response:
        user, password = changes.credentials(await _body(request))
        made = self._access.open(serial, user, password)
        path = f"{ROOT}/SessionService/Sessions/{made.identity}"
        found = {
            "@odata.id": path,
            "@odata.type": "#Session.v1_7_1.Session",
            "Id": made.identity,
            "Name": "Session",
            "UserName": user,
            "Password": None,
        }
        return _json(found, status=201, extra={"X-Auth-Token": made.token, "Location": path})

    async def _reset(self, serial: Serial, kind: str) -> None:
        """Carry out a reset; what takes longer than a moment goes on after the answer, as on real BMCs."""
        running = await self._hardware.power(serial) is PowerState.ON
        if not running and kind in ("ForceRestart", "GracefulRestart", "PowerCycle"):
            raise RefusalError(
                409, "ActionNotSupported", f"{kind} needs a machine that is on.", cure="Use ResetType On."
            )
        task = asyncio.create_task(self._act(serial, kind))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        done, _ = await asyncio.wait({task}, timeout=ACTION_WAIT_SECONDS)
        if done:
            task.result()
        else:
            task.add_done_callback(lambda ended: _tell(serial, kind, ended))

    async def _act(self, serial: Serial, kind: str) -> None:
        async with self._lock(serial):
            match kind:
                case "On":
                    await self._hardware.power_on(serial)
                case "ForceOff":
                    await self._hardware.power_off(serial, force=True)
                case "GracefulShutdown":
                    await self._hardware.power_off(serial, force=False)
                case "ForceRestart" | "PowerCycle":
                    await self._hardware.reset(serial, force=True)
                case "GracefulRestart":
                    await self._hardware.reset(serial, force=False)
                case _:
                    raise wrong_value("ResetType", kind, ", ".join(documents.RESET_TYPES))

    async def _insert(self, serial: Serial, uri: str) -> None:
        async with self._lock(serial):
            path = await media.fetch(self._folder, serial, uri, source=self._media_sources[serial])
            self._change(serial, media_uri=uri, media_path=str(path), inserted=True)

    async def _eject(self, serial: Serial) -> None:
        async with self._lock(serial):
            self._change(serial, media_uri="", media_path="", inserted=False)
            media.medium_path(self._folder, serial).unlink(missing_ok=True)

    def _change(self, serial: Serial, **update: object) -> BmcSettings:
        settings = load(self._folder, serial).model_copy(update={**update, "changed_at": datetime.now(UTC)})
        save(self._folder, serial, settings)
        return settings

    def _lock(self, serial: Serial) -> asyncio.Lock:
        return self._locks.setdefault(serial, asyncio.Lock())


def _tell(serial: Serial, kind: str, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s: %s failed after it was accepted: %s", serial, kind, error)


def _json(
    found: Mapping[str, Any], *, tag: str = "", status: int = 200, extra: Mapping[str, str] | None = None
) -> web.Response:
    headers = {**HEADERS, **(extra or {})}
    if tag:
        headers["ETag"] = tag
    return web.Response(status=status, text=json.dumps(found), content_type="application/json", headers=headers)


async def _body(request: web.Request) -> dict[str, Any]:
    raw = await request.read()
    if not raw:
        return {}
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise malformed() from error
    if not isinstance(value, dict):
        raise malformed()
    return value
