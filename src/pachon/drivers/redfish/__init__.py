"""Machines by Redfish: inventory, power, boot source, virtual media, asset tag; every write is verified by a read."""

from pachon.drivers.redfish.bmc import Bmc
from pachon.drivers.redfish.fleet import Target, inspect_all
from pachon.drivers.redfish.inventory import BootSetting, BootSource, Drive, Glance, Inventory, Port, Power
from pachon.drivers.redfish.kept import KeptBmcs
from pachon.drivers.redfish.quirks import Quirks, quirks_of
from pachon.drivers.redfish.wire import Endpoint, Limits

__all__ = [
    "Bmc",
    "BootSetting",
    "BootSource",
    "Drive",
    "Endpoint",
    "Glance",
    "Inventory",
    "KeptBmcs",
    "Limits",
    "Port",
    "Power",
    "Quirks",
    "Target",
    "inspect_all",
    "quirks_of",
]
