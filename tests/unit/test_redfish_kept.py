"""BMCs that are kept from one look to the next: what they are asked then, and that what has moved is noticed."""

from pathlib import Path

import pytest

from pachon.drivers.redfish import KeptBmcs, Power, Quirks
from pachon.drivers.redfish.wire import Wire
from pachon.errors import PermanentError
from tests.unit.test_redfish_bmc import Rig, machine, play


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every request."""
    told: list[str] = []
    real = Wire._once

    async def once(self: Wire, method: str, path: str, *rest: object) -> object:
        told.append(f"{method} {path}")
        return await real(self, method, path, *rest)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(Wire, "_once", once)
    return told


def test_a_glance_tells_of_power_and_asset_tag_what_an_inspection_tells(tmp_path: Path, sent: list[str]) -> None:
    async def script(made: Rig) -> None:
        async with made.bmc(2) as bmc:
            await bmc.set_asset_tag("base/host/x@0123456789ab")
            await bmc.set_power(Power.ON)
            whole = await bmc.inspect()
        sent.clear()
        async with made.bmc(2) as bmc:
            seen = await bmc.glance()
            again = await bmc.glance()
        assert (seen.serial, seen.power, seen.asset_tag) == (whole.serial, whole.power, whole.asset_tag)
        assert (seen.tls_sha256, again) == (made.pin, seen)
        assert len(sent) == 3
        async with made.bmc(2, serial="ANOTHER") as bmc:
            with pytest.raises(PermanentError):
                await bmc.glance()

    play(tmp_path, script)


@pytest.mark.parametrize("limit", [1, 0])
def test_a_known_bmc_is_asked_once_and_tells_what_has_moved(limit: int, tmp_path: Path, sent: list[str]) -> None:
    """Whether it stayed open or is connected to again."""

    async def script(made: Rig) -> None:
        kept = KeptBmcs(limit=limit)

        async def look() -> Power:
            async with kept.kept(made.bmc(3), key="three") as bmc:
                return (await bmc.glance()).power

        assert await look() is Power.FORCE_OFF
        sent.clear()
        assert await look() is Power.FORCE_OFF
        assert len(sent) == 1
        async with made.bmc(3) as bmc:
            await bmc.set_power(Power.ON)
        assert await look() is Power.ON
        await kept.close()

    play(tmp_path, script)


def test_a_bmc_that_is_somebody_elses_now_is_not_taken_for_the_one_that_was_known(tmp_path: Path) -> None:
    async def script(made: Rig) -> None:
        kept = KeptBmcs(limit=0)
        async with kept.kept(made.bmc(4), key="four") as bmc:
            await bmc.glance()
        bmc._expected = machine(5).serial
        with pytest.raises(PermanentError):
            async with kept.kept(made.bmc(4), key="four") as bmc:
                await bmc.glance()
        async with kept.kept(made.bmc(4), key="four") as fresh:
            assert fresh is not bmc, "what failed is not kept"
            await fresh.glance()

    play(tmp_path, script)


def test_a_bmc_with_sessions_logs_in_each_time_that_it_is_opened(tmp_path: Path, sent: list[str]) -> None:
    async def script(made: Rig) -> None:
        kept = KeptBmcs(limit=0)
        for _ in range(2):
            async with kept.kept(made.bmc(6, quirks=Quirks(sessions=True)), key="six") as bmc:
                await bmc.glance()
        assert sum(each.startswith("POST") for each in sent) == 2
        assert sum(each.startswith("DELETE") for each in sent) == 2

    play(tmp_path, script)
