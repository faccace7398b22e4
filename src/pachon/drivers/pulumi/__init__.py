"""Pulumi through inline programs: preview, up, refresh, destroy, import and export, each in a process of its own."""

from pachon.drivers.pulumi.answers import PlannedAction, StackResult
from pachon.drivers.pulumi.engine import Engine, Stack

__all__ = ["Engine", "PlannedAction", "Stack", "StackResult"]
