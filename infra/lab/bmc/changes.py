"""What a request body asks for, checked: pure functions from JSON to new BMC settings, or a RefusalError."""

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from infra.lab.bmc.documents import BOOT_ENABLED, BOOT_TARGETS, RESET_TYPES
from infra.lab.bmc.hardware import BmcSettings, BootOverride, BootSource
from infra.lab.bmc.problems import RefusalError, missing_parameter, unknown_property, wrong_type, wrong_value

Body = dict[str, Any]
MAX_TEXT = 256
MAX_URI = 1024


def reset_type(body: Body) -> str:
    """The reset that an action asks for."""
    _only(body, {"ResetType"})
    if "ResetType" not in body:
        raise missing_parameter("ComputerSystem.Reset", "ResetType")
    return _one_of("ResetType", body["ResetType"], RESET_TYPES)


def system(settings: BmcSettings, body: Body, now: datetime) -> BmcSettings:
    """Settings after a PATCH of the ComputerSystem."""
    _only(body, {"AssetTag", "Boot"})
    update: dict[str, object] = {"changed_at": now}
    if "AssetTag" in body:
        update["asset_tag"] = _text("AssetTag", body["AssetTag"], MAX_TEXT)
    if "Boot" in body:
        update |= _boot(settings, body["Boot"])
    return settings.model_copy(update=update)


def chassis(settings: BmcSettings, body: Body, now: datetime) -> BmcSettings:
    """Settings after a PATCH of the Chassis."""
    _only(body, {"AssetTag"})
    return system(settings, body, now)


def insertion(body: Body) -> str:
    """URI of the image that an InsertMedia action asks for."""
    _only(
        body, {"Image", "Inserted", "WriteProtected", "TransferMethod", "TransferProtocolType", "UserName", "Password"}
    )
    if "Image" not in body:
        raise missing_parameter("VirtualMedia.InsertMedia", "Image")
    for name in ("Inserted", "WriteProtected"):
        if not isinstance(body.get(name, True), bool):
            raise wrong_type(name, "boolean")
    if body.get("Inserted", True) is False:
        raise wrong_value("Inserted", False, "true")
    if body.get("WriteProtected", True) is False:
        raise wrong_value("WriteProtected", False, "true")
    return _uri("Image", body["Image"])


def credentials(body: Body) -> tuple[str, str]:
    """(user, password) of a request for a session."""
    _only(body, {"UserName", "Password", "Context", "Token"})
    for name in ("UserName", "Password"):
        if name not in body:
            raise RefusalError(400, "PropertyMissing", f"The property '{name}' is missing.", about=f"#/{name}")
    return _text("UserName", body["UserName"], MAX_TEXT), _text("Password", body["Password"], MAX_TEXT)


def _boot(settings: BmcSettings, boot: object) -> dict[str, object]:
    if not isinstance(boot, dict):
        raise wrong_type("Boot", "object")
    names = {"BootSourceOverrideTarget", "BootSourceOverrideEnabled", "BootSourceOverrideMode", "HttpBootUri"}
    _only(boot, names, prefix="Boot/")
    source, override, uri = settings.boot_source, settings.boot_override, settings.http_boot_uri
    if "BootSourceOverrideMode" in boot:
        _one_of("Boot/BootSourceOverrideMode", boot["BootSourceOverrideMode"], ("UEFI",))
    if "BootSourceOverrideTarget" in boot:
        source = BootSource(_one_of("Boot/BootSourceOverrideTarget", boot["BootSourceOverrideTarget"], BOOT_TARGETS))
        if override is BootOverride.DISABLED:
            override = BootOverride.ONCE
    if "BootSourceOverrideEnabled" in boot:
        value = _one_of("Boot/BootSourceOverrideEnabled", boot["BootSourceOverrideEnabled"], BOOT_ENABLED)
        override = BootOverride(value)
    if "HttpBootUri" in boot:
        uri = "" if boot["HttpBootUri"] in (None, "") else _uri("Boot/HttpBootUri", boot["HttpBootUri"])
    if source is BootSource.NONE or override is BootOverride.DISABLED:
        source, override = BootSource.NONE, BootOverride.DISABLED
    return {"boot_source": source, "boot_override": override, "http_boot_uri": uri}


def _only(body: Body, names: set[str], prefix: str = "") -> None:
    for name in body:
        if name not in names:
            raise unknown_property(prefix + str(name))


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str):
        raise wrong_type(name, "string")
    if value not in allowed:
        raise wrong_value(name, value, ", ".join(allowed))
    return value


def _text(name: str, value: object, limit: int) -> str:
    if not isinstance(value, str):
        raise wrong_type(name, "string")
    if len(value) > limit or not value.isprintable():
        raise wrong_value(name, f"{value[:20]!r}", f"printable text of at most {limit} characters")
    return value


def _uri(name: str, value: object) -> str:
    text = _text(name, value, MAX_URI)
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and text.isascii() and " " not in text
    except ValueError:
        good = False
    if not good:
        raise wrong_value(name, text, "an http or https URI")
    return text
