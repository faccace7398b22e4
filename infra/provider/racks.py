"""The world of racks: BMCs by Redfish, the site's boot service, hosts by SSH. Lab and twin look just the same."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import SecretStr

from infra.boot import ca
from infra.boot.client import BootClient
from infra.boot.orders import SERVER_PRINCIPAL, SERVER_USER, Deploy, ImageFile, NicAddress, Order
from infra.provider import programs
from infra.provider.inputs import HostInputs
from infra.provider.world import Answering, DeploySeen, HostAt, MachineAt, MachineSeen, ProgramName, Tell
from pachon.drivers import ssh
from pachon.drivers.redfish import Bmc, BootSource, Endpoint, Inventory, Limits, Power, quirks_of
from pachon.drivers.run_file import RunFile, SiteAccess
from pachon.errors import MissingError, PachonError, PermanentError
from pachon.model.stamp import Stamp

BMCS_AT_ONCE = 64
LOGINS_AT_ONCE = 32

Told = TypeVar("Told")


class Bmcs(Protocol):
    """Keeps BMCs open from one look to the next."""

    def kept(self, bmc: Bmc, *, key: str) -> AbstractAsyncContextManager[Bmc]:
        """The BMC that was kept under this key, or else this one, for a block."""


class RackWorld:
    """Implements ``World``. Connections that are given are used for all hosts, and stay open after it."""

    def __init__(self, run: RunFile, *, fleet: ssh.Fleet | None = None, bmcs: Bmcs | None = None) -> None:
        self._run = run
        self._state = Path(run.state)
        self._credentials = ssh.Credentials.of_state(self._state)
        self._given = fleet
        self._fleet = fleet or ssh.Fleet(self._credentials)
        self._kept = bmcs
        self._bmcs = asyncio.Semaphore(BMCS_AT_ONCE)
        self._logins = asyncio.Semaphore(LOGINS_AT_ONCE)

    async def inspect(self, machine: MachineAt) -> MachineSeen:  # noqa: D102
        return _machine_seen(await self._asked(machine, Bmc.inspect))

    async def glance(self, machine: MachineAt) -> MachineSeen:  # noqa: D102
        found = await self._asked(machine, Bmc.glance)
        return MachineSeen(
            serial=found.serial,
            macs=(),
            size_bytes_by_disk={},
            on=found.power is Power.ON,
            asset_tag=found.asset_tag,
            tls_sha256=found.tls_sha256,
        )

    async def _asked(self, machine: MachineAt, ask: Callable[[Bmc], Awaitable[Told]]) -> Told:
        if self._kept is not None:
            opened = self._bmc(machine)
            key = f"{opened.endpoint} {machine.serial} {machine.pin} {machine.vendor} {machine.model}"
            with suppress(PermanentError):  # its session may have ended, its password be another by now
                async with self._bmcs, self._kept.kept(opened, key=key) as bmc:
                    return await ask(bmc)
        async with self._bmcs, self._bmc(machine) as bmc:
            return await ask(bmc)

    async def set_asset_tag(self, machine: MachineAt, text: str) -> None:  # noqa: D102
        async with self._bmcs, self._bmc(machine) as bmc:
            await bmc.set_asset_tag(text)

    async def start(self, machine: MachineAt) -> None:  # noqa: D102
        async with self._bmcs, self._bmc(machine) as bmc:
            await bmc.set_boot(BootSource.NONE)
            await bmc.set_power(Power.ON)

    async def stop(self, machine: MachineAt) -> None:  # noqa: D102
        async with self._bmcs, self._bmc(machine) as bmc:
            await bmc.set_power(Power.FORCE_OFF)

    async def deploy_of(self, machine: MachineAt) -> DeploySeen | None:  # noqa: D102
        found = await self._boot(machine.site).get(machine.serial)
        return None if found is None else _seen(found)

    async def order(self, machine: MachineAt, host: dict[str, Any]) -> DeploySeen:  # noqa: D102
        order = order_of(HostInputs.model_validate(host), self._run)
        return _seen(await self._boot(machine.site).deploy(order))

    async def boot_deploy(self, machine: MachineAt) -> None:  # noqa: D102
        deploy = await self._boot(machine.site).get(machine.serial)
        if deploy is None or not deploy.http_boot_uri:
            return  # the machine has come for it already
        async with self._bmcs, self._bmc(machine) as bmc:
            try:
                await bmc.set_boot(BootSource.HTTP, uri=deploy.http_boot_uri)
            except PermanentError:
                if not deploy.media_url:
                    raise
                await bmc.insert_media(deploy.media_url)
                await bmc.set_boot(BootSource.MEDIA)
            await bmc.set_power(Power.FORCE_RESTART)

    async def until_deployed(self, machine: MachineAt, tell: Tell) -> None:  # noqa: D102
        def heard(deploy: Deploy) -> None:
            tell(f"{deploy.phase} {deploy.message}".strip(), deploy.fraction)

        seconds = self._run.budgets.deploy_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._boot(machine.site).wait(machine.serial, heard)
        except TimeoutError as error:
            raise PermanentError(
                f"machine {machine.serial} was not deployed within {seconds:.0f} s", cure="see its console; run again"
            ) from error
        with suppress(PachonError):  # where it was not used there is nothing to take out
            async with self._bmcs, self._bmc(machine) as bmc:
                await bmc.eject_media()

    async def revoke(self, machine: MachineAt) -> None:  # noqa: D102
        boot = self._boot(machine.site)
        if await boot.get(machine.serial) is not None:
            await boot.revoke(machine.serial)

    async def stamp_on_disk(self, host: HostAt, *, within_seconds: float) -> Answering:  # noqa: D102
        address, port = self._reach(host)
        patience, alias = timedelta(seconds=within_seconds), host.management_address
        connection: ssh.Host | None = None
        try:
            if self._given is not None:
                await self._given.wait_for_login(address, patience=patience, port=port, alias=alias)
                answer = await self._given.run_program(
                    address, programs.text("stamp"), {"fencing_token": 0}, port=port, alias=alias
                )
            else:
                connection = await ssh.wait_for_login(
                    address, credentials=self._credentials, patience=patience, port=port, alias=alias
                )
                async with self._logins:
                    answer = await connection.run_program(programs.text("stamp"), {"fencing_token": 0})
        except PachonError as error:
            return Answering(None, error.message)
        finally:
            if connection is not None:
                await connection.close()
        return self._checked(host, answer)

    def _checked(self, host: HostAt, answer: dict[str, Any]) -> Answering:
        text, signature = str(answer.get("stamp", "")), str(answer.get("signature", ""))
        if not ca.stamp_is_genuine(self._state, host.site, text, signature):
            return Answering(None, "the stamp on its disk is not signed by the site")
        told = json.loads(text)
        if told.get("facility") != self._run.facility:
            return Answering(None, f"it belongs to the facility {told.get('facility')}")
        return Answering(Stamp(address=str(told["address"]), generation=str(told["generation"])))

    async def run_program(  # noqa: D102
        self, host: HostAt, program: ProgramName, call: dict[str, Any]
    ) -> dict[str, Any]:
        address, port = self._reach(host)
        answer = await self._fleet.run_program(
            address, programs.text(program), call, port=port, alias=host.management_address
        )
        if "error" in answer:
            raise PermanentError(f"{host.name}: {answer['error']}", cure=str(answer.get("cure", "see the host")))
        return answer

    async def close(self) -> None:  # noqa: D102
        if self._given is None:
            await self._fleet.__aexit__(None, None, None)

    def _bmc(self, machine: MachineAt) -> Bmc:
        access = self._access(machine.site)
        mapped = self._run.endpoints.get(machine.bmc_address)
        endpoint = Endpoint(mapped.host, mapped.port) if mapped else Endpoint(machine.bmc_address, access.bmc_port)
        path = self._state / "secrets" / f"bmc-{machine.site}"
        try:
            password = SecretStr(path.read_text().strip())
        except FileNotFoundError as error:
            raise MissingError(
                f"there is no password for the BMCs of site {machine.site}", cure=f"put it into {path} (mode 0600)"
            ) from error
        return Bmc(
            endpoint,
            access.bmc_user,
            password,
            tls_sha256=machine.pin,
            serial=machine.serial,
            quirks=quirks_of(machine.vendor, machine.model),
            limits=Limits(total=timedelta(seconds=self._run.budgets.bmc_seconds), late_attempts=4, attempts=4),
        )

    def _boot(self, site: str) -> BootClient:
        return BootClient(Path(self._access(site).boot_socket))

    def _access(self, site: str) -> SiteAccess:
        return self._run.sites.get(site) or SiteAccess(boot_socket=str(self._state / "boot" / site / "admin.sock"))

    def _reach(self, host: HostAt) -> tuple[str, int]:
        mapped = self._run.endpoints.get(host.management_address)
        return (mapped.host, mapped.port) if mapped else (host.management_address, 22)


def _seen(deploy: Deploy) -> DeploySeen:
    return DeploySeen(state=deploy.state.value, generation=deploy.generation)


def order_of(host: HostInputs, run: RunFile) -> Order:
    """The order that makes this host; images are found by digest among the run's files."""
    fqdn = f"{host.host}.{host.domain}"
    addresses = [address for nic in host.nics for address in (nic.address, nic.also) if address is not None]
    return Order(
        serial=host.serial,
        site=host.site,
        host=host.host,
        domain=host.domain,
        address=host.address,
        generation=host.generation,
        names=(host.host, fqdn, *(str(address) for address in addresses)),
        address_on={
            nic.mac: NicAddress(
                name=nic.name,
                address=nic.address,
                prefix=nic.prefix,
                gateway=nic.gateway,
                reply_gateway=nic.reply_gateway,
                also=nic.also,
            )
            for nic in host.nics
        },
        disk_serial=host.disk_serial,
        image=_file(host.image.digest, host.image.raw_size_bytes, run),
        kernel=_file(host.image.kernel_digest, host.image.kernel_raw_size_bytes, run),
        principals={SERVER_USER: (SERVER_PRINCIPAL,)},
        hosts=("127.0.0.1 localhost", "::1 localhost", f"{addresses[:2][-1]} {fqdn} {host.host}"),
    )


def _file(digest: str, raw_size_bytes: int, run: RunFile) -> ImageFile:
    path = run.images.get(digest)
    if not path:
        raise MissingError(f"the image {digest[:19]}… is not in the cache", cure="'pachon up' bakes it")
    return ImageFile(digest=digest, path=Path(path), raw_size_bytes=raw_size_bytes)


def _machine_seen(found: Inventory) -> MachineSeen:
    return MachineSeen(
        serial=found.serial,
        macs=tuple(nic.mac for nic in found.nics),
        size_bytes_by_disk={disk.serial: disk.size_bytes for disk in found.disks},
        on=found.power is Power.ON,
        asset_tag=found.asset_tag,
        tls_sha256=found.tls_sha256,
    )
