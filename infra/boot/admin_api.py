"""What the provider asks of the boot service, over a unix socket that only its owner can open."""

from functools import partial
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from infra.boot.desk import Desk
from infra.boot.orders import Order
from pachon.errors import PachonError, TemporaryError


def admin(desk: Desk) -> web.Application:
    """The admin application."""
    application = web.Application(client_max_size=4 << 20)
    router = application.router
    router.add_get("/v1/health", partial(_health, desk))
    router.add_get("/v1/deploys", partial(_list, desk))
    router.add_get("/v1/deploys/{serial}", partial(_get, desk))
    router.add_put("/v1/deploys/{serial}", partial(_put, desk))
    router.add_delete("/v1/deploys/{serial}", partial(_delete, desk))
    router.add_post("/v1/deploys/{serial}/media", partial(_media, desk))
    return application


def _answer(value: Any, *, status: int = 200) -> web.Response:
    return web.json_response(value, status=status)


def _wrong(error: PachonError, *, status: int) -> web.Response:
    return _answer({"error": error.message, "cure": error.cure}, status=status)


async def _health(desk: Desk, request: web.Request) -> web.Response:
    return _answer({"site": desk.settings.site, "settings": desk.settings.digest})


async def _list(desk: Desk, request: web.Request) -> web.Response:
    return _answer([desk.shown(kept.deploy).model_dump(mode="json") for kept in desk.records.all()])


async def _get(desk: Desk, request: web.Request) -> web.Response:
    kept = desk.records.get(request.match_info["serial"])
    if kept is None:
        return _answer({"error": "no deploy of this machine", "cure": "order one"}, status=404)
    return _answer(desk.shown(kept.deploy).model_dump(mode="json"))


async def _put(desk: Desk, request: web.Request) -> web.Response:
    try:
        order = Order.model_validate(await request.json())
        if order.serial != request.match_info["serial"] or order.site != desk.settings.site:
            return _answer({"error": "the order is for another machine", "cure": "ask its site"}, status=400)
        deploy = desk.begin(order, afresh=request.query.get("afresh") == "yes")
    except ValidationError as error:
        return _answer({"error": f"not an order: {error}", "cure": "see infra/boot/orders.py"}, status=400)
    except TemporaryError as error:
        return _wrong(error, status=429)
    except PachonError as error:
        return _wrong(error, status=400)
    return _answer(deploy.model_dump(mode="json"))


async def _delete(desk: Desk, request: web.Request) -> web.Response:
    desk.revoke(request.match_info["serial"])
    return _answer({})


async def _media(desk: Desk, request: web.Request) -> web.Response:
    try:
        path = await desk.media_file(request.match_info["serial"])
    except PachonError as error:
        return _wrong(error, status=500)
    if path is None:
        return _answer({"error": "no unused token for this machine", "cure": "order a deploy first"}, status=409)
    return _answer({"media_path": str(path)})
