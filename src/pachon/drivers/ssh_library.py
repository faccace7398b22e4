"""asyncssh without its search for libraries of ciphers that we do not use: it asks ldconfig, a compiler and a linker.

That are five processes each time it is imported, a third of what importing it costs.
"""

import ctypes.util


def _nothing(name: str) -> None:
    """No library of that name."""


_search = ctypes.util.find_library
ctypes.util.find_library = _nothing
try:
    import asyncssh
finally:
    ctypes.util.find_library = _search

__all__ = ["asyncssh"]
