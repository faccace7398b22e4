"""aiohttp without the authorities that this machine trusts: it reads all of them when it is imported, for nothing here.

BMCs are believed by the fingerprint of their certificate, and what else we speak HTTP to are sockets of our own.
"""

import os

_NAMES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_kept = {name: os.environ.get(name) for name in _NAMES}
os.environ.update(dict.fromkeys(_NAMES, os.devnull))
try:
    import aiohttp
finally:
    for _name, _value in _kept.items():
        if _value is None:
            os.environ.pop(_name, None)
        else:
            os.environ[_name] = _value

__all__ = ["aiohttp"]
