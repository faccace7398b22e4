"""The one wrapper for external programs: argument list, time limit, streamed output, secrets masked, never a shell."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pachon.errors import MissingError, PermanentError, TemporaryError

Line = Callable[[str], None]


@dataclass(frozen=True)
class Output:
    """What a program left behind."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


def mask(text: str, secrets: Sequence[str]) -> str:
    """The text with every secret replaced by stars."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "****")
    return text


async def run(
    argv: Sequence[str],
    *,
    timeout: timedelta,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    on_line: Line | None = None,
    secrets: Sequence[str] = (),
    check: bool = True,
) -> Output:
    """What the program printed and how it ended.

    ``environment`` is the whole environment of the child (default: ours). ``on_line`` is told each line of either
    stream as it comes. Past the time limit its process group is killed.

    Raises:
        MissingError: there is no such program.
        TemporaryError: it took longer than ``timeout``.
        PermanentError: it ended with another status than 0 (unless ``check`` is false).
    """
    arguments = tuple(str(argument) for argument in argv)
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=None if environment is None else dict(environment),
            cwd=folder,
            process_group=0,
            limit=1 << 20,
        )
    except FileNotFoundError as error:
        raise MissingError(
            f"there is no program {arguments[0]!r}", cure="'pachon doctor' lists what this machine lacks"
        ) from error

    async def collect(stream: asyncio.StreamReader | None) -> str:
        lines: list[str] = []
        while stream is not None and (raw := await stream.readline()):
            line = mask(raw.decode(errors="replace"), secrets)
            lines.append(line)
            if on_line is not None:
                on_line(line.rstrip("\n"))
        return "".join(lines)

    async def feed() -> None:
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                process.stdin.write(stdin)
                await process.stdin.drain()
            process.stdin.close()

    try:
        async with asyncio.timeout(timeout.total_seconds()):
            stdout, stderr, _, status = await asyncio.gather(
                collect(process.stdout), collect(process.stderr), feed(), process.wait()
            )
    except TimeoutError as error:
        raise TemporaryError(
            f"{arguments[0]} did not end within {timeout.total_seconds():g} s", cure="run again; see its output"
        ) from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if check and status != 0:
        said = (stderr.strip() or stdout.strip()).splitlines()[-12:]
        command = mask(" ".join(arguments), secrets)
        raise PermanentError(f"{command} ended with status {status}: " + "\n".join(said))
    return Output(argv=arguments, status=status, stdout=stdout, stderr=stderr)


def call(argv: Sequence[str], *, timeout: timedelta, stdin: bytes = b"", check: bool = True) -> Output:
    """As ``run``, for code that is not asynchronous."""
    return asyncio.run(run(argv, timeout=timeout, stdin=stdin, check=check))
