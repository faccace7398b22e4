"""The boot service as a process of its own: one for a site, back after a kill, and silent about tokens."""

import asyncio
import json
import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from infra.boot import launch
from infra.boot.client import BootClient
from infra.boot.orders import State
from pachon.errors import PermanentError, TemporaryError
from pachon.progress import Event
from tests.unit.boot.test_boot_service import agent_of, get, hello, new_key

if TYPE_CHECKING:
    from tests.unit.boot.conftest import Bench


async def ensured(bench: "Bench", events: list[Event]) -> Path:
    return await launch.ensure(
        bench.facility,
        bench.site,
        state=bench.state,
        images=bench.images,
        progress=events.append,
        http_port=bench.settings.http_port,
        https_port=bench.settings.https_port,
        dhcp=False,
    )


def pid_of(bench: "Bench") -> int:
    return int(json.loads((bench.settings.folder / "service.json").read_text())["pid"])


def test_a_killed_service_comes_back_and_a_deploy_in_the_middle_continues(bench: "Bench", tmp_path: Path) -> None:
    events: list[Event] = []

    async def everything() -> None:
        client = BootClient(await ensured(bench, events))
        deploy = await client.deploy(bench.order())
        server = await asyncio.to_thread(agent_of, deploy)
        await asyncio.to_thread(hello, server)
        pid = pid_of(bench)
        await ensured(bench, events)
        assert events[-1].state == "unchanged"
        assert pid_of(bench) == pid
        (bench.settings.folder / "service.json").unlink()
        assert launch.is_running(bench.state, "base"), "a lost note does not make two services of one"
        os.kill(pid, signal.SIGKILL)
        server.patience = 30
        keys = asyncio.create_task(asyncio.to_thread(lambda: server.post("host-keys", public_keys=[new_key(tmp_path)])))
        await ensured(bench, events)
        assert (await keys)["certificates"]
        again = await client.deploy(bench.order())
        assert (again.id, again.state) == (deploy.id, State.DEPLOYING)
        assert await launch.stop(bench.state, "base")
        assert not await launch.stop(bench.state, "base")

    try:
        asyncio.run(everything())
    finally:
        asyncio.run(launch.stop(bench.state, "base"))


def test_no_token_stands_in_a_log_a_record_an_argument_or_an_environment(bench: "Bench") -> None:
    async def everything() -> None:
        client = BootClient(await ensured(bench, []))
        deploy = await client.deploy(bench.order())
        token = deploy.http_boot_uri.split("/")[4]
        assert len(token) == 64
        await asyncio.to_thread(get, f"http://127.0.0.1:{bench.settings.http_port}/deploy/{token}/nothing")
        await asyncio.to_thread(hello, await asyncio.to_thread(agent_of, deploy))
        process = psutil.Process(pid_of(bench))
        seen = " ".join(process.cmdline()) + str(process.environ())
        assert token not in seen
        for path in bench.state.rglob("*"):
            if path.is_file():
                assert token.encode() not in path.read_bytes(), path

    try:
        asyncio.run(everything())
    finally:
        asyncio.run(launch.stop(bench.state, "base"))


def test_a_pid_that_belongs_to_another_program_now_is_left_alone(bench: "Bench") -> None:
    bench.settings.folder.mkdir(parents=True, exist_ok=True)
    (bench.settings.folder / "service.json").write_text(json.dumps({"pid": os.getpid(), "settings": "x"}))
    assert not launch.is_running(bench.state, "base")
    assert not asyncio.run(launch.stop(bench.state, "base"))


def test_a_service_that_cannot_listen_says_so(bench: "Bench") -> None:
    import socket

    with socket.create_server(("127.0.0.1", bench.settings.http_port)), pytest.raises(PermanentError, match="in use"):
        asyncio.run(ensured(bench, []))


def test_no_service_is_told_with_where_its_log_is(bench: "Bench") -> None:
    client = BootClient(bench.socket, patience=timedelta(0))
    with pytest.raises(TemporaryError, match="does not answer") as caught:
        asyncio.run(client.get("SN1"))
    assert "log" in caught.value.cure
