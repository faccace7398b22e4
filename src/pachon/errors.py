"""The one tree of errors.

    PachonError
    ├── UsageError              exit 2   the user can mend it: the call or the definition is wrong
    │   └── DefinitionError     exit 2   … with every complaint, each as path:line
    ├── RefusedError            exit 5   allowed to nobody as things stand; says what would lift it
    │   └── LeaseHeldError      exit 5   another writer holds the site
    ├── MissingError            exit 1   this machine lacks a program, right or kernel feature
    ├── PermanentError          exit 1   trying again changes nothing
    ├── TemporaryError          exit 1   trying again may help (retried inside a budget)
    └── PartialError            exit 6   part of the work was carried out; lists what is left

Vendor errors are converted where they enter (drivers); context is added once; causes are chained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit status means (architecture, section 6)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PENDING = 3
    DEGRADED = 4
    REFUSED = 5
    PARTIAL = 6


class PachonError(Exception):
    """Something a person has to hear of: ``message`` says what and where, ``cure`` what to do next."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message}; {self.cure}" if self.cure else self.message


class UsageError(PachonError):
    """The call or its input is wrong."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, order=True)
class Complaint:
    """One thing wrong in one file, with the line it stands on and what would be right."""

    path: str
    line: int
    wrong: str
    right: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.wrong}; {self.right}"


class DefinitionError(UsageError):
    """The definition cannot be used; carries all complaints, not only the first."""

    def __init__(self, complaints: Sequence[Complaint]) -> None:
        self.complaints = tuple(sorted(complaints))
        number = len(self.complaints)
        super().__init__(f"{number} complaint{'s' if number != 1 else ''} about the definition")

    def __str__(self) -> str:
        return "\n".join(str(complaint) for complaint in self.complaints)


class RefusedError(PachonError):
    """Not done because a rule forbids it; the cure says what would lift it."""

    exit_code = ExitCode.REFUSED


class LeaseHeldError(RefusedError):
    """Another writer holds the lease of this site."""


class MissingError(PachonError):
    """This machine lacks something (a program, a right, a kernel feature)."""


class PermanentError(PachonError):
    """The effect failed and would fail again."""


class TemporaryError(PachonError):
    """The effect failed in a way that may pass: a timeout, a busy BMC, a reset connection."""


class PartialError(PachonError):
    """Some of the work is done, some is not."""

    exit_code = ExitCode.PARTIAL

    def __init__(self, message: str, *, failures: Sequence[tuple[str, PachonError]], cure: str = "") -> None:
        super().__init__(message, cure=cure)
        self.failures = tuple(failures)
        """(address, error) of every part that failed."""
