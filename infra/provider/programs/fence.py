"""What every program on a host does first: turn away an older writer, and tell refusals as answers."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

Call = dict[str, Any]

FENCE = Path("/var/lib/pachon/fencing-token")


class RefusalError(Exception):
    """Told to the caller as {"error", "cure"}."""

    def __init__(self, error: str, cure: str) -> None:
        super().__init__(error)
        self.error = error
        self.cure = cure


def run(*argv: object, check: bool = True) -> str:
    """What the program printed."""
    done = subprocess.run([str(part) for part in argv], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RefusalError(" ".join(map(str, argv)) + ": " + (done.stderr or done.stdout).strip(), "see the host")
    return done.stdout


def write_whole(path: Path, text: str) -> bool:
    """Whether the file had to be changed."""
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name("." + path.name + ".new")
    new.write_text(text)
    new.chmod(0o644)
    new.replace(path)
    return True


def fence(call: Call) -> None:
    """Refuse a writer that is older than one that was here before; each site's tokens only grow."""
    token = int(call.get("fencing_token", 0))
    known = int(FENCE.read_text()) if FENCE.exists() else 0
    if token < known:
        raise RefusalError(
            f"fencing token {token} is older than {known}, which was here before",
            "nothing to do: the later run carries on",
        )
    if token > known:
        write_whole(FENCE, str(token))


def guarded(call: Call, answer: Callable[[Call], Call]) -> Call:
    """What ``answer`` says to the call, or why it is refused."""
    try:
        if call.get("verb") != "read" and call.get("fencing_token"):
            fence(call)
        return answer(call)
    except RefusalError as refusal:
        return {"error": refusal.error, "cure": refusal.cure}
