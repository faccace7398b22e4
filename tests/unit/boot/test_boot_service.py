"""The real boot service on loopback, spoken to by the real agent's client and the real admin client."""

import asyncio
import hashlib
import http.client
import json
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from infra.boot import service
from infra.boot.agent import main
from infra.boot.agent.console import TroubleError
from infra.boot.agent.image import pour
from infra.boot.agent.server import Server, download
from infra.boot.client import BootClient
from infra.boot.orders import Deploy, State
from pachon.errors import PermanentError, RefusedError, TemporaryError

if TYPE_CHECKING:
    from tests.unit.boot.conftest import Bench


def get(url: str, *, source: str = "127.0.0.1", verb: str = "GET") -> tuple[int, bytes]:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, source_address=(source, 0), timeout=20)
    try:
        connection.request(verb, where.path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def told(image: bytes) -> dict[str, str]:
    """The words that the deploy image was given."""
    at = image.index(b"console=")
    return main.words(image[at : at + 1024].split(b"\0")[0].decode())


def agent_of(deploy: Deploy) -> Server:
    """The agent's client, as the deploy image of this deploy would make it."""
    status, image = get(deploy.http_boot_uri)
    assert status == 200
    words = told(image)
    server = Server(words["server"], words["token"], words["pin"])
    server.patience = 0.5
    return server


def hello(server: Server, **other: Any) -> dict[str, Any]:
    said: dict[str, Any] = {
        "serial": "SN1",
        "uuid": "",
        "macs": ["52:54:00:60:00:01"],
        "clock_unix": time.time(),
        "inventory": {"cpus": 1, "memory_mib": 1, "disks": [], "nics": []},
    }
    return server.post("hello", **{**said, **other})


def new_key(folder: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "k"], check=True)
    return (folder / "k.pub").read_text().strip()


def served(bench: "Bench", work: Callable[[BootClient], Any]) -> None:
    """Run an asynchronous test against a service in this process."""

    async def everything() -> None:
        async with service.running(bench.settings):
            await work(BootClient(bench.socket, patience=timedelta(seconds=1)))

    asyncio.run(everything())


def test_a_machine_goes_from_its_order_to_signed_host_keys_and_done(bench: "Bench", tmp_path: Path) -> None:
    async def work(client: BootClient) -> None:
        deploy = await client.deploy(bench.order())
        assert deploy.state is State.WAITING
        server = await asyncio.to_thread(agent_of, deploy)
        assert (await client.get("SN1")).state is State.FETCHED  # type: ignore[union-attr]
        orders = await asyncio.to_thread(hello, server)
        assert orders["host"] == "base-batch01"
        assert orders["disk_serial"] == "DISK1"
        assert json.loads(orders["stamp"])["generation"] == "0123456789ab"
        status, image = await asyncio.to_thread(get, orders["image"]["url"])
        assert (status, f"sha256:{hashlib.sha256(image).hexdigest()}") == (200, orders["image"]["digest"])
        await asyncio.to_thread(server.moved, "image", 0.5)
        moved = await client.get("SN1")
        assert moved is not None
        assert (moved.phase, moved.fraction, moved.http_boot_uri) == ("image", 0.5, "")
        answer = await asyncio.to_thread(lambda: server.post("host-keys", public_keys=[new_key(tmp_path)]))
        assert answer["certificates"][0].startswith("ssh-ed25519-cert-v01@openssh.com ")
        await asyncio.to_thread(lambda: server.post("done", phases={"image": 1.5}))
        await asyncio.to_thread(lambda: server.post("done", phases={"image": 1.5}))
        done = await client.wait("SN1")
        assert done.phases == {"image": 1.5}
        assert (await client.deploy(bench.order())).id == deploy.id
        with pytest.raises(TroubleError):
            await asyncio.to_thread(lambda: server.post("host-keys", public_keys=[new_key(tmp_path.parent)]))
        await client.revoke("SN1")
        assert "@revoked * ssh-ed25519" in (bench.state / "known_hosts").read_text()
        assert await client.get("SN1") is None
        assert (await client.deploy(bench.order())).state is State.WAITING

    served(bench, work)


def test_an_impostor_without_the_token_gets_nothing_and_the_true_machine_goes_on(bench: "Bench") -> None:
    async def work(client: BootClient) -> None:
        deploy = await client.deploy(bench.order())
        base = f"http://127.0.0.1:{bench.settings.http_port}"
        digest = bench.images.root.digest
        for url in ("/deploy/ask-your-bmc/deploy.efi", f"/deploy/{'0' * 64}/deploy.efi", f"/artefact/{digest}", "/"):
            assert (await asyncio.to_thread(get, base + url))[0] == 404, url
        assert (await asyncio.to_thread(lambda: get(deploy.http_boot_uri, source="127.0.0.9")))[0] == 404
        impostor = await asyncio.to_thread(agent_of, deploy)
        impostor._token = "0" * 64
        with pytest.raises(TroubleError, match="does not know this token"):
            await asyncio.to_thread(hello, impostor)
        orders = await asyncio.to_thread(hello, await asyncio.to_thread(agent_of, deploy))
        assert orders["host"] == "base-batch01"
        url = orders["image"]["url"]
        assert (await asyncio.to_thread(lambda: get(url, source="127.0.0.9")))[0] == 404
        assert (await asyncio.to_thread(get, deploy.http_boot_uri))[0] == 404
        record = await client.get("SN1")
        assert record is not None
        assert record.state is State.DEPLOYING
        assert any("127.0.0.9" in refusal for refusal in record.refusals)

    served(bench, work)


def test_a_second_run_with_a_used_token_is_refused_and_noted(bench: "Bench") -> None:
    async def work(client: BootClient) -> None:
        deploy = await client.deploy(bench.order())
        first = await asyncio.to_thread(agent_of, deploy)
        second = await asyncio.to_thread(agent_of, deploy)
        orders = await asyncio.to_thread(hello, first)
        assert await asyncio.to_thread(hello, first) == orders
        with pytest.raises(TroubleError, match="used already"):
            await asyncio.to_thread(hello, second)
        with pytest.raises(TroubleError, match="refused"):
            await asyncio.to_thread(lambda: second.post("done", phases={}))
        record = await client.get("SN1")
        assert record is not None
        assert record.state is State.DEPLOYING
        assert "used already" in record.refusals[0]

    served(bench, work)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"clock_unix": 86_400.0}, "the clock of SN1 says 1970-01-02"),
        ({"serial": "SN2"}, "says its serial is 'SN2'"),
        ({"macs": ["02:00:00:00:00:01"]}, "has no NIC 52:54:00:60:00:01"),
    ],
)
def test_a_machine_that_is_not_as_defined_fails_at_once_with_reason_and_cure(
    bench: "Bench", wrong: dict[str, Any], says: str
) -> None:
    async def work(client: BootClient) -> None:
        server = await asyncio.to_thread(agent_of, await client.deploy(bench.order()))
        with pytest.raises(TroubleError, match=says):
            await asyncio.to_thread(lambda: hello(server, **wrong))
        with pytest.raises(PermanentError, match=says) as caught:
            await client.wait("SN1")
        assert caught.value.cure

    served(bench, work)


def test_a_failure_told_by_the_machine_reaches_who_waits_and_the_next_order_starts_anew(bench: "Bench") -> None:
    async def work(client: BootClient) -> None:
        deploy = await client.deploy(bench.order())
        server = await asyncio.to_thread(agent_of, deploy)
        await asyncio.to_thread(hello, server)
        await asyncio.to_thread(lambda: server.post("failed", phase="partition", message="no disk", kind="disk"))
        with pytest.raises(PermanentError, match="failed in phase partition: no disk") as caught:
            await client.wait("SN1")
        assert "disk" in caught.value.cure
        again = await client.deploy(bench.order())
        assert again.id != deploy.id
        assert again.state is State.WAITING

    served(bench, work)


def test_a_machine_that_says_nothing_fails_and_its_token_is_void(bench: "Bench") -> None:
    async def everything() -> None:
        async with service.running(bench.settings) as desk:
            client = BootClient(bench.socket)
            later = 0.0
            monotonic = asyncio.get_running_loop().time
            desk._monotonic = lambda: monotonic() + later
            deploy = await client.deploy(bench.order())
            later += 61
            with pytest.raises(TemporaryError, match="never asked for its deploy image") as caught:
                await client.wait("SN1")
            assert "BMC" in caught.value.cure
            assert (await asyncio.to_thread(get, deploy.http_boot_uri))[0] == 404
            server = await asyncio.to_thread(agent_of, await client.deploy(bench.order()))
            await asyncio.to_thread(hello, server)
            later += 61
            with pytest.raises(TemporaryError, match="stopped speaking in the middle"):
                await client.wait("SN1")
            with pytest.raises(TroubleError, match="refused"):
                await asyncio.to_thread(lambda: server.post("done", phases={}))

    asyncio.run(everything())


def test_a_full_rack_makes_the_next_machine_wait_not_fail(bench: "Bench") -> None:
    async def work(client: BootClient) -> None:
        await client.deploy(bench.order(0))
        second = asyncio.create_task(client.deploy(bench.order(1)))
        await asyncio.sleep(0.8)
        assert not second.done()
        assert await client.get("SN2") is None
        await client.revoke("SN1")
        assert (await second).serial == "SN2"

    served(bench, work)


def test_virtual_media_carries_the_same_token(bench: "Bench") -> None:
    async def work(client: BootClient) -> None:
        deploy = await client.deploy(bench.order())
        status, disk = await asyncio.to_thread(get, deploy.media_url)
        path = await client.media_path("SN1")
        assert status == 200
        assert path.read_bytes() == disk
        words = told(disk)
        assert words["token"] in deploy.http_boot_uri
        server = Server(words["server"], words["token"], words["pin"])
        assert (await asyncio.to_thread(hello, server))["host"] == "base-batch01"
        assert not path.exists()

    served(bench, work)


def test_the_agent_speaks_to_nobody_with_another_certificate(bench: "Bench") -> None:
    async def work(client: BootClient) -> None:
        server = await asyncio.to_thread(agent_of, await client.deploy(bench.order()))
        server._pin = "0" * 64
        with pytest.raises(TroubleError, match="another certificate"):
            await asyncio.to_thread(hello, server)

    served(bench, work)


def test_images_are_sent_to_as_many_machines_as_allowed_and_each_gives_its_place_back(
    bench: "Bench", monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("infra.boot.desk.STREAM_WAIT_SECONDS", 0.2)

    async def everything() -> None:
        async with service.running(bench.settings) as desk:
            client = BootClient(bench.socket)
            server = await asyncio.to_thread(agent_of, await client.deploy(bench.order()))
            orders = await asyncio.to_thread(hello, server)
            give_back = await desk.turn("SN2", None)
            assert give_back is not None
            assert (await asyncio.to_thread(get, orders["image"]["url"]))[0] == 503
            give_back()
            for _ in range(3):
                assert (await asyncio.to_thread(get, orders["image"]["url"]))[0] == 200
            assert not caplog.records

    asyncio.run(everything())


def test_the_agent_writes_the_image_that_was_ordered_and_refuses_another(bench: "Bench", tmp_path: Path) -> None:
    target = tmp_path / "disk"

    async def work(client: BootClient) -> None:
        server = await asyncio.to_thread(agent_of, await client.deploy(bench.order()))
        image = (await asyncio.to_thread(hello, server))["image"]

        def write(ordered: dict[str, Any]) -> None:
            target.write_bytes(b"\0" * len(bench.raw))
            with download(image["url"], 5) as response:
                pour(response, ordered, str(target), server)

        await asyncio.to_thread(write, image)
        assert target.read_bytes() == bench.raw
        with pytest.raises(TroubleError, match="ordered was sha256:00"):
            await asyncio.to_thread(write, {**image, "digest": "sha256:00"})
        with pytest.raises(TroubleError, match="does not unpack"):
            await asyncio.to_thread(write, {**image, "raw_size_bytes": 5})

    served(bench, work)


def test_only_one_service_runs_in_a_folder(bench: "Bench") -> None:
    async def work(client: BootClient) -> None:
        with pytest.raises(RefusedError, match="another boot service"):
            async with service.running(bench.settings):
                pass

    served(bench, work)
