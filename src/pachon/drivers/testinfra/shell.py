"""A root shell on a host that runs one command after the other over one channel.

A channel and a ``sudo`` for each command cost several processes and log lines on the host every time; a role's tests
run hundreds. One small program is started there instead, which dies with its channel.
"""

import json
import shlex
import time

import paramiko

from pachon.errors import TemporaryError

WINDOW_BYTES = 16 << 20
MARGIN_SECONDS = 5.0
"""The host ends a command at its limit; so much later we no longer believe that it will."""

PROGRAM = """
import json, os, signal, subprocess, sys
for line in sys.stdin.buffer:
    call = json.loads(line)
    child = subprocess.Popen(
        ["/bin/sh", "-c", call["command"]],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )
    try:
        out, err = child.communicate(timeout=call["seconds"])
        status = child.returncode
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        out, err, status = b"", b"", None
    answer = json.dumps({"status": status, "out": len(out), "err": len(err)}).encode()
    sys.stdout.buffer.write(answer + b"\\n" + out + err)
    sys.stdout.buffer.flush()
"""


class RootShell:
    """The shell of one host; to be thrown away after an error."""

    def __init__(self, transport: paramiko.Transport, host: str, *, seconds: float) -> None:
        self._host = host
        self._seconds = seconds
        self._unread = b""
        try:
            self._channel = transport.open_session(window_size=WINDOW_BYTES, timeout=seconds)
            self._channel.exec_command(f"sudo -n /usr/bin/python3 -I -c {shlex.quote(PROGRAM)}")
        except (OSError, paramiko.SSHException, EOFError) as error:
            raise self._broken(error) from error

    @property
    def is_open(self) -> bool:
        """Whether it can take a command."""
        return not self._channel.closed and not self._channel.exit_status_ready()

    def close(self) -> None:
        """End it."""
        self._channel.close()

    def run(self, command: str) -> tuple[int, bytes, bytes]:
        """How the command ended, and what it printed on either stream.

        Raises:
            TemporaryError: it ran longer than a command may, or the connection broke.
        """
        deadline = time.monotonic() + self._seconds + MARGIN_SECONDS
        call = json.dumps({"command": command, "seconds": self._seconds}).encode() + b"\n"
        try:
            self._channel.settimeout(self._seconds + MARGIN_SECONDS)
            self._channel.sendall(call)
            head = json.loads(self._line(deadline))
            out, err = self._read(head["out"], deadline), self._read(head["err"], deadline)
        except TimeoutError as error:
            raise self._too_long(command) from error
        except (OSError, paramiko.SSHException, EOFError, ValueError) as error:
            raise self._broken(error) from error
        if head["status"] is None:
            raise self._too_long(command)
        return int(head["status"]), out, err

    def _line(self, deadline: float) -> bytes:
        while b"\n" not in self._unread:
            self._receive(deadline)
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _read(self, size_bytes: int, deadline: float) -> bytes:
        while len(self._unread) < size_bytes:
            self._receive(deadline)
        data, self._unread = self._unread[:size_bytes], self._unread[size_bytes:]
        return data

    def _receive(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._channel.settimeout(left)
        piece = self._channel.recv(1 << 16)
        if not piece:
            said = b""
            while self._channel.recv_stderr_ready():
                said += self._channel.recv_stderr(1 << 12)
            raise EOFError(said.decode(errors="replace").strip() or "it closed the shell")
        self._unread += piece

    def _broken(self, error: BaseException) -> TemporaryError:
        return TemporaryError(f"{self._host} broke the connection: {error}", cure="run again")

    def _too_long(self, command: str) -> TemporaryError:
        return TemporaryError(
            f"a command on {self._host} did not end within {self._seconds:g} s: {command}",
            cure="see what it waits for; --command-limit allows more",
        )
