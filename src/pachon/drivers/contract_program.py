"""Runs on a host: tries whether others, each at an address and a port, keep a health contract, side by side.

Sent over SSH (``pachon.rollout.measures``); needs nothing but the standard library.
"""

import http.client
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any

AT_ONCE = 32


def main(call: dict[str, Any]) -> dict[str, Any]:
    """By name what is wrong with each; empty if nothing is."""
    targets = call["targets"]
    if not targets:
        return {}
    with ThreadPoolExecutor(min(AT_ONCE, len(targets))) as pool:
        return dict(zip(targets, pool.map(lambda target: _wrong(call, target), targets.values()), strict=True))


def _wrong(call: dict[str, Any], target: dict[str, Any]) -> str:
    try:
        with socket.create_connection((target["address"], target["port"]), timeout=call["seconds"]) as link:
            return _answer(call, target, link) if call["path"] else ""
    except TimeoutError:
        return f"no answer within {call['seconds']:g} s"
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not good: {error.verify_message or error}"
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__


def _answer(call: dict[str, Any], target: dict[str, Any], link: socket.socket) -> str:
    asked = http.client.HTTPConnection(call["name"] or target["certified"], timeout=call["seconds"])
    asked.sock = link
    if call["trust"]:
        trust = ssl.create_default_context(cafile=call["trust"])
        asked.sock = trust.wrap_socket(link, server_hostname=target["certified"])
    asked.request("GET", call["path"])
    status = asked.getresponse().status
    return "" if status == call["status"] else f"{call['path']} answers {status}, to be {call['status']}"
