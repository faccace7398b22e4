"""Programs started before ``.venv`` exists: they end when we are killed, and inherit only what they need."""

import asyncio
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from pachon.drivers import program

KEPT = re.compile(
    "HOME|LANG|LC_ALL|LOGNAME|NETRC|PATH|TMPDIR|USER|(ALL|HTTP|HTTPS|NO)_PROXY|(all|http|https|no)_proxy"
    "|APT_CONFIG|CURL_CA_BUNDLE|REQUESTS_CA_BUNDLE|SSL_CERT_(DIR|FILE)"
    "|GO(AUTH|ENV|INSECURE|NOPROXY|NOSUMDB|PRIVATE|PROXY|SUMDB)"
    "|PIP_(CERT|CONFIG_FILE|EXTRA_INDEX_URL|INDEX_URL|TRUSTED_HOST)"
    "|UV_(DEFAULT_INDEX|EXTRA_INDEX_URL|INDEX|INDEX_URL|NATIVE_TLS|SYSTEM_CERTS)"
)
"""Of our own environment variables, those that say how registries are reached and who we are."""


def variables(**extra: str) -> dict[str, str]:
    """The environment variables of a child: the few of ours that it needs, and ``extra``."""
    return {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)} | extra


def run(
    argv: Sequence[str],
    *,
    timeout: timedelta,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    on_line: program.Line | None = None,
    check: bool = True,
) -> program.Output:
    """What the program printed and how it ended; it is killed when we are, by whatever signal.

    Raises:
        MissingError, TemporaryError, PermanentError: as ``pachon.drivers.program.run``.
    """
    setpriv = shutil.which("setpriv")
    leash = (setpriv, "--pdeathsig", "KILL", "--") if setpriv and shutil.which(str(argv[0])) else ()

    def work() -> program.Output:
        return asyncio.run(
            program.run(
                (*leash, *argv),
                timeout=timeout,
                environment=variables() if environment is None else environment,
                folder=folder,
                on_line=on_line,
                check=check,
            )
        )

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    with ThreadPoolExecutor(max_workers=1) as pool:  # our caller is asynchronous itself: a loop cannot hold another
        return pool.submit(work).result()
