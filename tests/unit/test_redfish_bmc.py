"""Our Redfish client against our emulator, over TLS on loopback: what it reads, writes, verifies and refuses."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr

from infra.lab.bmc import certificate, faults, server
from infra.lab.bmc.faults import Faults
from infra.lab.bmc.hardware import BootSource as Booted
from infra.lab.bmc.hardware import PowerState, facts_of, load
from infra.lab.bmc.idle import IdleHardware
from pachon.drivers.redfish import Bmc, BootSource, Endpoint, Limits, Power, Quirks, Target, inspect_all, quirks_of
from pachon.errors import PachonError, PermanentError, TemporaryError
from pachon.model.facility import Disk, Machine, Nic

PASSWORD = SecretStr("canary-9d2f!ö")
QUICK = Limits(request=timedelta(seconds=2), total=timedelta(seconds=30), attempts=2, poll=timedelta(seconds=0.1))
FAST = Quirks(settle_seconds=0.5)


def machine(number: int) -> Machine:
    return Machine(
        serial=f"RFT{number:04}",
        site="base",
        rack="r1",
        unit=number,
        vendor="pachon",
        model="container",
        cpus=4,
        memory_mib=768,
        bmc_address=IPv4Address("127.77.1.0") + number,
        management_address=IPv4Address("198.19.77.0") + number,
        bmc_tls_sha256="",
        nics=(
            Nic(name="eth0", mac=f"02:77:00:00:00:{number:02x}", speed_gbps=10),
            Nic(name="eth1", mac=f"02:77:00:00:01:{number:02x}", speed_gbps=25),
        ),
        disks=(Disk(name="vda", serial=f"D{number}", media="nvme", size_gib=4),),
    )


@dataclass
class Rig:
    folder: Path
    hardware: IdleHardware
    port: int
    pin: str

    def bmc(self, number: int = 1, **settings: object) -> Bmc:
        values: dict[str, object] = {
            "tls_sha256": self.pin,
            "serial": machine(number).serial,
            "limits": QUICK,
            "quirks": FAST,
        }
        endpoint = Endpoint(str(machine(number).bmc_address), self.port)
        return Bmc(endpoint, "pachon", PASSWORD, **(values | settings))  # type: ignore[arg-type]  # settings of a test

    def faulty(self, **fault: object) -> None:
        faults.put(self.folder, {machine(1).serial: Faults.model_validate(fault)})


@asynccontextmanager
async def rig(folder: Path) -> AsyncIterator[Rig]:
    hardware = IdleHardware([machine(number) for number in range(1, 9)], folder)
    tls = certificate.ensure_certificate(folder / "tls", now=datetime.now(UTC))
    users = {"pachon": PASSWORD}
    async with server.serving(hardware, folder, bind="0.0.0.0", port=0, tls=tls, users=users) as port:
        yield Rig(folder, hardware, port, certificate.fingerprint(tls.certificate))


def play(folder: Path, script: Callable[[Rig], Awaitable[None]]) -> None:
    async def run() -> None:
        async with rig(folder) as made:
            await script(made)

    asyncio.run(run())


def test_inspection_tells_everything_about_the_machine(tmp_path: Path) -> None:
    async def script(made: Rig) -> None:
        async with made.bmc(2, tls_sha256="") as bmc:
            seen = await bmc.inspect()
        assert seen.serial == "RFT0002"
        assert seen.uuid == facts_of(machine(2)).uuid
        assert (seen.manufacturer, seen.model, seen.cpus, seen.memory_mib) == ("pachon", "container", 4, 768)
        assert [port.mac for port in seen.nics] == ["02:77:00:00:00:02", "02:77:00:00:01:02"]
        assert [(disk.name, disk.serial, disk.size_bytes) for disk in seen.disks] == [("vda", "D2", 4 << 30)]
        assert seen.power is Power.FORCE_OFF
        assert seen.boot.source is BootSource.NONE
        assert seen.tls_sha256 == made.pin

    play(tmp_path, script)


def test_inspection_is_the_same_without_expand_and_with_sessions(tmp_path: Path) -> None:
    async def script(made: Rig) -> None:
        async with made.bmc(3) as bmc:
            usual = await bmc.inspect()
        async with made.bmc(3, quirks=Quirks(expand=False, sessions=True, if_match=True)) as bmc:
            assert await bmc.inspect() == usual
            await bmc.set_asset_tag("with an ETag")

    play(tmp_path, script)


def test_power_is_verified_and_unchanged_power_sends_nothing(tmp_path: Path) -> None:
    async def script(made: Rig) -> None:
        async with made.bmc() as bmc:
            await bmc.set_power(Power.ON)
            await bmc.set_power(Power.ON)
            assert await bmc.power() is Power.ON
            assert len(made.hardware.boots) == 1
            await bmc.set_power(Power.FORCE_RESTART)
            assert len(made.hardware.boots) == 2
            await bmc.set_power(Power.GRACEFUL_OFF)
            assert await bmc.power() is Power.FORCE_OFF
            await bmc.set_power(Power.FORCE_RESTART)
            assert await bmc.power() is Power.ON

    play(tmp_path, script)


def test_http_boot_holds_for_one_boot_only(tmp_path: Path) -> None:
    async def script(made: Rig) -> None:
        uri = "http://198.19.77.1:8017/deploy/t0ken/deploy.efi"
        async with made.bmc() as bmc:
            await bmc.set_boot(BootSource.HTTP, uri=uri)
            shown = await bmc.boot()
            assert (shown.source, shown.once, shown.uri) == (BootSource.HTTP, True, uri)
            await bmc.set_power(Power.ON)
            assert (await bmc.boot()).source is BootSource.NONE
            await bmc.set_boot(BootSource.DISK, once=False)
            await bmc.set_power(Power.FORCE_RESTART)
            assert (await bmc.boot()).source is BootSource.DISK
            await bmc.set_boot(BootSource.NONE)
        assert [(choice.source, choice.target) for _, choice in made.hardware.boots] == [
            (Booted.HTTP, uri),
            (Booted.DISK, ""),
        ]

    play(tmp_path, script)


def test_virtual_media_is_fetched_by_the_bmc(tmp_path: Path) -> None:
    async def image(request: web.Request) -> web.Response:
        return web.Response(body=b"medium" * 1000)

    async def script(made: Rig) -> None:
        application = web.Application()
        application.router.add_get("/deploy.img", image)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/deploy.img"
        async with made.bmc() as bmc:
            await bmc.insert_media(url)
            await bmc.set_boot(BootSource.MEDIA)
            await bmc.set_power(Power.ON)
            (_, choice) = made.hardware.boots[-1]
            assert choice.source is Booted.MEDIA
            assert Path(choice.target).read_bytes() == b"medium" * 1000
            await bmc.eject_media()
            assert not Path(choice.target).exists()
            with pytest.raises(PermanentError, match="cannot get the image"):
                await bmc.insert_media(url + ".missing")
        await runner.cleanup()

    play(tmp_path, script)


def test_a_bmc_that_says_on_whatever_is_true_is_found_out_by_a_restart(tmp_path: Path) -> None:
    async def script(made: Rig) -> None:
        made.faulty(lies_about_power=PowerState.ON)
        async with made.bmc() as bmc:
            with pytest.raises(PermanentError, match="accepted ForceOff but still says that power is On"):
                await bmc.set_power(Power.FORCE_RESTART)

    play(tmp_path, script)


def test_asset_tag_outlives_the_emulator(tmp_path: Path) -> None:
    async def write(made: Rig) -> None:
        async with made.bmc() as bmc:
            await bmc.set_asset_tag("base/host/base-batch01@0123456789ab")

    async def read(made: Rig) -> None:
        async with made.bmc() as bmc:
            assert (await bmc.inspect()).asset_tag == "base/host/base-batch01@0123456789ab"

    play(tmp_path, write)
    play(tmp_path, read)


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        ({"no_answer": True}, TemporaryError, "did not answer"),
        ({"slow_seconds": 5.0}, TemporaryError, "did not answer"),
        ({"other_serial": "ELSE9"}, PermanentError, "belongs to machine ELSE9, not to RFT0001"),
        ({"http_500_rate": 1.0}, TemporaryError, "HTTP 500"),
        ({"garbage_json": True}, TemporaryError, "not a JSON object"),
        ({"tls_changed": True}, PermanentError, "shows the certificate"),
        ({"lies_about_power": PowerState.OFF}, PermanentError, "accepted On but still says that power is Off"),
        ({"ignores_boot_override": True}, PermanentError, "accepted boot source UefiHttp but shows None"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_faulty_bmc_is_told_with_a_cure(
    tmp_path: Path, fault: dict[str, object], kind: type[PachonError], says: str
) -> None:
    async def script(made: Rig) -> None:
        made.faulty(**fault)
        with pytest.raises(kind, match=says) as caught:
            async with made.bmc() as bmc:
                await bmc.set_boot(BootSource.HTTP, uri="http://198.19.77.1/x.efi")
                await bmc.set_power(Power.ON)
        assert caught.value.cure
        faults.clear(made.folder)
        async with made.bmc() as bmc:
            await bmc.set_power(Power.ON)

    play(tmp_path, script)


def test_wrong_password_is_permanent_and_stays_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def script(made: Rig) -> None:
        endpoint = Endpoint(str(machine(1).bmc_address), made.port)
        for quirks in (FAST, Quirks(sessions=True)):
            with pytest.raises(PermanentError, match="refuses the credentials of 'pachon'") as caught:
                async with Bmc(
                    endpoint, "pachon", SecretStr("wrong-canary"), tls_sha256=made.pin, quirks=quirks, limits=QUICK
                ) as bmc:
                    await bmc.inspect()
            assert "wrong-canary" not in str(caught.value)
        async with made.bmc() as bmc:
            await bmc.inspect()
            assert "canary" not in repr(vars(bmc))

    with caplog.at_level(logging.DEBUG):
        play(tmp_path, script)
    assert "canary" not in caplog.text


def test_many_are_inspected_although_some_are_faulty(tmp_path: Path) -> None:
    async def script(made: Rig) -> None:
        made.faulty(no_answer=True)
        faults.put(made.folder, {machine(2).serial: Faults(http_500_rate=0.2)})
        targets = [
            Target(serial=f"RFT{n:04}", endpoint=Endpoint(str(machine(n).bmc_address), made.port), tls_sha256=made.pin)
            for n in range(1, 9)
        ]
        limits = Limits(request=timedelta(seconds=1), attempts=5, pause=timedelta(milliseconds=20))
        heard: list[str] = []
        results = await inspect_all(
            targets, "pachon", PASSWORD, concurrency=4, limits=limits, told=lambda serial, _: heard.append(serial)
        )
        assert isinstance(results.pop("RFT0001"), TemporaryError)
        assert {serial: getattr(found, "serial", found) for serial, found in results.items()} == {
            f"RFT{n:04}": f"RFT{n:04}" for n in range(2, 9)
        }
        assert sorted(heard) == [f"RFT{n:04}" for n in range(1, 9)]

    play(tmp_path, script)


def test_nobody_listening_is_temporary() -> None:
    async def script() -> None:
        endpoint = Endpoint("127.77.1.99", 9)
        async with Bmc(endpoint, "pachon", PASSWORD, tls_sha256="", limits=QUICK) as bmc:
            with pytest.raises(TemporaryError, match="cannot be reached"):
                await bmc.power()

    asyncio.run(script())


def test_a_quirk_of_the_model_wins_over_that_of_the_vendor() -> None:
    assert quirks_of("Lenovo", "SD530").media_by_patch
    assert not quirks_of("Lenovo", "SR650").media_by_patch
    assert quirks_of("Dell Inc.", "R650").settle_seconds == 90
    assert quirks_of("pachon", "container") == Quirks()


def test_damaged_settings_are_told_by_the_bmc(tmp_path: Path) -> None:
    async def script(made: Rig) -> None:
        (made.folder / "RFT0001").mkdir()
        (made.folder / "RFT0001" / "bmc.json").write_text("{")
        with pytest.raises(PachonError, match="is damaged"):
            load(made.folder, "RFT0001")
        async with made.bmc() as bmc:
            with pytest.raises(TemporaryError, match=r"bmc\.json is damaged"):
                await bmc.power()

    play(tmp_path, script)
