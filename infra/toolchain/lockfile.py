"""``make lock``: requirements.lock anew from pyproject.toml, with hashes and without any registry's address."""

import sys
from datetime import timedelta

from infra.toolchain import children, virtualenv
from infra.toolchain.wheels import SYSTEM_PYTHON
from pachon import places
from pachon.errors import PachonError
from pachon.progress import silent

COMPILE_TIMEOUT = timedelta(minutes=30)


def main(argv: list[str]) -> int:
    """The exit status. ``argv`` goes to ``uv pip compile``: ``--upgrade`` for the newest versions."""
    cache = places.cache().absolute()
    try:
        uv = virtualenv.installer(cache=cache, progress=silent)
        children.run(
            (
                *(str(uv), "pip", "compile", "--quiet", "--python", SYSTEM_PYTHON, "--generate-hashes"),
                *("--no-emit-index-url", "--no-header", "--all-extras", "pyproject.toml"),
                *("--output-file", "requirements.lock", *argv),
            ),
            timeout=COMPILE_TIMEOUT,
            environment=children.variables(UV_CACHE_DIR=str(cache / "uv"), UV_PYTHON_DOWNLOADS="never"),
            folder=places.CHECKOUT,
        )
    except PachonError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
