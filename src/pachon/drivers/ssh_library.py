"""asyncssh as we have it: what it has no setting for.

It does without its search for libraries of ciphers that we do not use: that asks ldconfig, a compiler and a linker.
That are five processes each time it is imported, a third of what importing it costs.
"""

import ctypes.util
from functools import lru_cache
from typing import Any


def _nothing(name: str) -> None:
    """No library of that name."""


_search = ctypes.util.find_library
ctypes.util.find_library = _nothing
try:
    import asyncssh
finally:
    ctypes.util.find_library = _search

__all__ = ["asyncssh", "sign_at_once"]


@lru_cache(maxsize=1)
def sign_at_once() -> None:
    """Have asyncssh send the signature with its first request, not ask before whether the key would do.

    To be asked costs a host as much as to be convinced: it checks the certificate three times more, a fifth of a login.
    asyncssh has no setting for it; one that is built otherwise is left as it is.
    """
    publickey = getattr(asyncssh.auth, "_ClientPublicKeyAuth", None)

    async def start(self: Any) -> None:
        self._keypair = await self._conn.public_key_auth_requested()
        if self._keypair is None:
            self._conn.try_next_auth(next_method=True)
        else:
            await self._send_signed_request()

    if hasattr(publickey, "_start") and hasattr(publickey, "_send_signed_request"):
        setattr(publickey, "_start", start)  # noqa: B010  # mypy knows better
