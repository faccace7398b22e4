"""Importing ``pulumi`` costs half a second, which every operation would pay for a process that needs only its messages.

So the provider's own process, and no other, enters the packages above the generated messages as empty ones.
"""

import importlib.util
import sys
import types


def enter() -> None:
    """Let ``pulumi.runtime.proto`` be imported without what lies above it; to be called before anything imports it."""
    spec = importlib.util.find_spec("pulumi")
    if "pulumi" in sys.modules or spec is None or not spec.submodule_search_locations:
        return
    for name, tail in (("pulumi", ""), ("pulumi.runtime", "/runtime")):
        package = types.ModuleType(name)
        package.__path__ = [f"{folder}{tail}" for folder in spec.submodule_search_locations]
        sys.modules[name] = package
