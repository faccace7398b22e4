"""The emulator judged from outside: by OpenStack's sushy, and by requests that no client of ours would send."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sushy  # type: ignore[import-untyped]  # it ships no types
from aiohttp import web
from pydantic import SecretStr
from sushy import auth as sushy_auth

from infra.lab.bmc import certificate, server
from infra.lab.bmc.hardware import BmcSettings, BootOverride, BootSource, consume_boot
from infra.lab.bmc.idle import IdleHardware
from pachon.model.facility import Disk, Machine, Nic

USERS = {"pachon": SecretStr("secret")}
BASIC = {"Authorization": "Basic " + base64.b64encode(b"pachon:secret").decode()}
SYSTEM = "/redfish/v1/Systems/RFE1"


def machine(number: int) -> Machine:
    return Machine(
        serial=f"RFE{number}",
        site="base",
        rack="r1",
        unit=number,
        vendor="pachon",
        model="container",
        cpus=2,
        memory_mib=1024,
        bmc_address=IPv4Address("127.77.2.0") + number,
        management_address=IPv4Address("198.19.77.0") + number,
        bmc_tls_sha256="",
        nics=(Nic(name="eth0", mac=f"02:77:00:00:02:{number:02x}", speed_gbps=10),),
        disks=(Disk(name="vda", serial=f"E{number}", media="ssd", size_gib=8),),
    )


def play(folder: Path, script: Callable[[IdleHardware, int], Awaitable[None]]) -> None:
    async def run() -> None:
        hardware = IdleHardware([machine(1), machine(2)], folder)
        tls = certificate.ensure_certificate(folder / "tls", now=datetime.now(UTC))
        async with server.serving(hardware, folder, bind="0.0.0.0", port=0, tls=tls, users=USERS) as port:
            await script(hardware, port)

    asyncio.run(run())


def sushy_session(port: int, auth: Any) -> None:
    root = sushy.Sushy(f"https://127.77.2.1:{port}/redfish/v1/", verify=False, auth=auth)
    assert root.redfish_version == "1.18.0"
    (system,) = root.get_system_collection().get_members()
    assert system.identity == "RFE1"
    assert (system.power_state, system.manufacturer) == (sushy.PowerState.OFF, "pachon")
    assert system.memory_summary.size_gib == 1
    assert system.processors.summary.count == 2
    assert dict(system.ethernet_interfaces.summary) == {"02:77:00:00:02:01": sushy.State.ENABLED}
    assert system.storage.max_drive_size_bytes == 8 << 30
    assert set(system.get_allowed_reset_system_values()) >= {sushy.RESET_ON, sushy.RESET_FORCE_OFF}

    system.set_system_boot_options(
        sushy.BootSource.UEFI_HTTP,
        enabled=sushy.BootSourceOverrideEnabled.ONCE,
        http_boot_uri="http://198.19.77.1/d.efi",
    )
    system.refresh(force=True)
    assert system.boot.target == sushy.BootSource.UEFI_HTTP
    assert system.boot.enabled == sushy.BootSourceOverrideEnabled.ONCE
    assert system.boot.http_boot_uri == "http://198.19.77.1/d.efi"
    system.reset_system(sushy.RESET_ON)
    system.invalidate()
    system.refresh()
    assert system.power_state == sushy.PowerState.ON
    assert system.boot.enabled == sushy.BootSourceOverrideEnabled.DISABLED
    system.reset_system(sushy.RESET_FORCE_RESTART)
    system.reset_system(sushy.RESET_GRACEFUL_SHUTDOWN)
    system.invalidate()
    system.refresh()
    assert system.power_state == sushy.PowerState.OFF
    if isinstance(auth, sushy_auth.SessionAuth):
        auth.close()  # else sushy ends the session when it is collected, whenever and wherever that is


def sushy_media(port: int, image: str) -> None:
    auth = sushy_auth.BasicAuth("pachon", "secret")
    root = sushy.Sushy(f"https://127.77.2.1:{port}/redfish/v1/", verify=False, auth=auth)
    (manager,) = root.get_manager_collection().get_members()
    assert [system.identity for system in manager.systems] == ["RFE1"]
    (medium,) = manager.virtual_media.get_members()
    medium.insert_media(image)
    medium.refresh(force=True)
    assert medium.inserted
    assert medium.image == image
    medium.eject_media()
    medium.refresh(force=True)
    assert not medium.inserted
    (chassis,) = root.get_chassis_collection().get_members()
    assert chassis.identity == "RFE1"


@pytest.mark.parametrize("kind", [sushy_auth.BasicAuth, sushy_auth.SessionAuth])
def test_sushy_drives_a_machine(tmp_path: Path, kind: type) -> None:
    async def script(hardware: IdleHardware, port: int) -> None:
        await asyncio.to_thread(sushy_session, port, kind("pachon", "secret"))
        assert [choice.source for _, choice in hardware.boots] == [BootSource.HTTP, BootSource.DISK]

    play(tmp_path, script)


def test_sushy_uses_virtual_media(tmp_path: Path) -> None:
    async def script(hardware: IdleHardware, port: int) -> None:
        async def image(request: web.Request) -> web.Response:
            return web.Response(body=b"medium")

        application = web.Application()
        application.router.add_get("/deploy.img", image)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await asyncio.to_thread(sushy_media, port, f"http://127.0.0.1:{runner.addresses[0][1]}/deploy.img")
        await runner.cleanup()

    play(tmp_path, script)


def test_wrong_credentials_are_refused_by_sushy_too(tmp_path: Path) -> None:
    def wrong(port: int) -> None:
        auth = sushy_auth.BasicAuth("pachon", "guess")
        with pytest.raises(sushy.exceptions.AccessError):
            sushy.Sushy(f"https://127.77.2.1:{port}/redfish/v1/", verify=False, auth=auth).get_system_collection()

    async def script(hardware: IdleHardware, port: int) -> None:
        await asyncio.to_thread(wrong, port)

    play(tmp_path, script)


RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
INSERT = "/redfish/v1/Managers/bmc/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia"
REFUSED = [
    ("GET", SYSTEM, None, {}, 401),
    ("GET", "/redfish/v1/Systems/RFE2", None, BASIC, 404),
    ("GET", "/redfish/v1/Nothing", None, BASIC, 404),
    ("GET", "/", None, BASIC, 404),
    ("GET", f"{SYSTEM}/EthernetInterfaces?$expand=nonsense", None, BASIC, 400),
    ("GET", SYSTEM, None, {"Authorization": "Basic %%%"}, 401),
    ("GET", SYSTEM, None, {"X-Auth-Token": "guess"}, 401),
    ("PUT", SYSTEM, "{}", BASIC, 405),
    ("POST", SYSTEM, "{}", BASIC, 405),
    ("DELETE", SYSTEM, None, BASIC, 405),
    ("PATCH", "/redfish/v1/Systems", "{}", BASIC, 405),
    ("PATCH", SYSTEM, "{", BASIC, 400),
    ("PATCH", SYSTEM, "[]", BASIC, 400),
    ("PATCH", SYSTEM, '{"AssetTag": 7}', BASIC, 400),
    ("PATCH", SYSTEM, '{"AssetTag": "' + "x" * 300 + '"}', BASIC, 400),
    ("PATCH", SYSTEM, '{"SerialNumber": "mine"}', BASIC, 400),
    ("PATCH", SYSTEM, '{"Boot": []}', BASIC, 400),
    ("PATCH", SYSTEM, '{"Boot": {"BootSourceOverrideTarget": "Floppy"}}', BASIC, 400),
    ("PATCH", SYSTEM, '{"Boot": {"BootSourceOverrideEnabled": "Twice"}}', BASIC, 400),
    ("PATCH", SYSTEM, '{"Boot": {"BootSourceOverrideTarget": {"a": 1}}}', BASIC, 400),
    ("PATCH", SYSTEM, '{"Boot": {"HttpBootUri": "file:///etc/passwd"}}', BASIC, 400),
    ("PATCH", SYSTEM, '{"AssetTag": "x"}', {**BASIC, "If-Match": '"stale"'}, 412),
    ("POST", RESET, "{}", BASIC, 400),
    ("POST", RESET, '{"ResetType": "Explode"}', BASIC, 400),
    ("POST", RESET, '{"ResetType": ["On"]}', BASIC, 400),
    ("POST", RESET, '{"ResetType": "ForceRestart"}', BASIC, 409),
    ("POST", INSERT, "{}", BASIC, 400),
    ("POST", INSERT, '{"Image": "file:///etc/shadow"}', BASIC, 400),
    ("POST", INSERT, '{"Image": "http://127.0.0.1:9/none.img"}', BASIC, 400),
    ("POST", "/redfish/v1/SessionService/Sessions", '{"UserName": "pachon"}', {}, 400),
    ("POST", "/redfish/v1/SessionService/Sessions", '{"UserName": "pachon", "Password": "guess"}', {}, 401),
    ("DELETE", "/redfish/v1/SessionService/Sessions/none", None, BASIC, 404),
]


def test_wrong_requests_are_refused_with_a_redfish_error_and_change_nothing(tmp_path: Path) -> None:
    async def script(hardware: IdleHardware, port: int) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:
            for method, path, body, headers, status in REFUSED:
                url = f"https://127.77.2.1:{port}{path}"
                async with session.request(method, url, data=body, headers=headers) as answer:
                    assert answer.status == status, f"{method} {path} {body}"
                    error = (await answer.json())["error"]
                    assert error["code"].startswith("Base.1."), f"{method} {path}"
                    assert error["@Message.ExtendedInfo"][0]["Resolution"]
                    assert (answer.status != 405) or answer.headers["Allow"]
        assert not hardware.boots
        assert not list(tmp_path.glob("RFE*/bmc.json"))

    play(tmp_path, script)


def test_the_address_and_not_the_host_header_picks_the_machine(tmp_path: Path) -> None:
    async def script(hardware: IdleHardware, port: int) -> None:
        headers = {**BASIC, "Host": "127.77.2.1"}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:
            async with session.get(f"https://127.77.2.2:{port}/redfish/v1/Systems", headers=headers) as answer:
                assert (await answer.json())["Members"] == [{"@odata.id": "/redfish/v1/Systems/RFE2"}]
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"https://127.77.2.9:{port}/redfish/v1")

    play(tmp_path, script)


def test_every_link_leads_somewhere(tmp_path: Path) -> None:
    async def script(hardware: IdleHardware, port: int) -> None:
        seen: set[str] = set()
        waiting = ["/redfish/v1/"]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False), headers=BASIC) as session:
            while waiting:
                path = waiting.pop()
                async with session.get(f"https://127.77.2.1:{port}{path}") as answer:
                    assert answer.status == 200, path
                    assert answer.headers["OData-Version"] == "4.0"
                    text = await answer.text()
                found = json.loads(text)
                assert found["@odata.id"].rstrip("/") == path.rstrip("/")
                assert found["@odata.type"].startswith("#")
                assert found["Name"]
                seen.add(path)
                targets = {part.split('"')[0] for part in text.split('"@odata.id": "')[1:]}
                waiting += [each for each in sorted(targets) if each not in seen and each not in waiting]
        assert len(seen) >= 18

    play(tmp_path, script)


def test_a_session_ends_when_it_is_deleted(tmp_path: Path) -> None:
    async def script(hardware: IdleHardware, port: int) -> None:
        base = f"https://127.77.2.1:{port}"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:
            body = {"UserName": "pachon", "Password": "secret"}
            async with session.post(f"{base}/redfish/v1/SessionService/Sessions", json=body) as answer:
                assert answer.status == 201
                token, place = answer.headers["X-Auth-Token"], answer.headers["Location"]
            headers = {"X-Auth-Token": token}
            # A session opened at one BMC is worth nothing at another.
            async with session.get(f"https://127.77.2.2:{port}/redfish/v1/Systems", headers=headers) as answer:
                assert answer.status == 401
            async with session.delete(base + place, headers=headers) as answer:
                assert answer.status == 204
            async with session.get(f"{base}/redfish/v1/Systems", headers=headers) as answer:
                assert answer.status == 401

    play(tmp_path, script)


@pytest.mark.parametrize(
    ("before", "source", "target", "after"),
    [
        (BmcSettings(), BootSource.DISK, "", BootOverride.DISABLED),
        (
            BmcSettings(boot_source=BootSource.HTTP, boot_override=BootOverride.ONCE, http_boot_uri="http://a/b"),
            BootSource.HTTP,
            "http://a/b",
            BootOverride.DISABLED,
        ),
        (
            BmcSettings(boot_source=BootSource.MEDIA, boot_override=BootOverride.CONTINUOUS),
            BootSource.DISK,
            "",
            BootOverride.CONTINUOUS,
        ),
        (
            BmcSettings(
                boot_source=BootSource.MEDIA, boot_override=BootOverride.ONCE, inserted=True, media_path="/m.img"
            ),
            BootSource.MEDIA,
            "/m.img",
            BootOverride.DISABLED,
        ),
        (
            BmcSettings(boot_source=BootSource.HTTP, boot_override=BootOverride.DISABLED, http_boot_uri="http://a/b"),
            BootSource.DISK,
            "",
            BootOverride.DISABLED,
        ),
    ],
)
def test_once_means_once(before: BmcSettings, source: BootSource, target: str, after: BootOverride) -> None:
    choice = consume_boot(before, now=datetime(2026, 11, 27, tzinfo=UTC))
    assert (choice.source, choice.target, choice.settings.boot_override) == (source, target, after)
    assert consume_boot(choice.settings, now=datetime(2026, 11, 27, tzinfo=UTC)).settings == choice.settings
