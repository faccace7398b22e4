"""What an operation of the engine comes back with, as values."""

from typing import Any, Literal

from pachon.errors import (
    LeaseHeldError,
    MissingError,
    PachonError,
    PartialError,
    PermanentError,
    RefusedError,
    TemporaryError,
    UsageError,
)
from pachon.model.base import Frozen

Verb = Literal["create", "update", "replace", "delete", "none", "unknown"]

_ERRORS: dict[str, type[PachonError]] = {
    kind.__name__: kind
    for kind in (LeaseHeldError, MissingError, PermanentError, RefusedError, TemporaryError, UsageError)
}


class Change(Frozen):
    """One input that differs."""

    key: str
    before: Any
    after: Any


class PlannedAction(Frozen):
    """One thing that the engine would do, or (after ``up``) has done."""

    address: str
    kind: str
    """Token of the resource family."""
    verb: Verb
    reason: str
    generation: str = ""
    """After the action; of a delete, the one that is removed."""
    previous_generation: str = ""
    changes: tuple[Change, ...] = ()


class Failure(Frozen):
    """One resource that failed."""

    address: str
    error: str
    """Name of the class in the tree of errors."""
    message: str
    cure: str = ""

    def as_error(self) -> PachonError:
        """The error that it was in the process where it happened."""
        return _ERRORS.get(self.error, PermanentError)(self.message, cure=self.cure)


class StackResult(Frozen):
    """What an operation that changes things did."""

    outputs: dict[str, Any]
    """The stack's exports; ``document`` is missing when a resource failed."""
    actions: tuple[PlannedAction, ...]
    """What was carried out, ``none`` for what was found right."""
    failures: tuple[Failure, ...]
    said: tuple[str, ...] = ()
    """Errors of the engine itself that belong to no resource."""
    seconds: float = 0.0
    log: str = ""
    """File with what engine and plug-in said, of this stack and run."""

    @property
    def changes(self) -> dict[str, int]:
        """How many actions of each verb were carried out."""
        counted: dict[str, int] = {}
        for action in self.actions:
            counted[action.verb] = counted.get(action.verb, 0) + 1
        return counted

    def raise_if_failed(self, what: str) -> None:
        """Nothing, if all went well.

        Raises:
            PartialError: some resources failed; with each address and error.
            PermanentError: the engine itself failed.
        """
        if self.failures:
            failures = [(failure.address, failure.as_error()) for failure in self.failures]
            number = len(failures)
            raise PartialError(
                f"{what}: {number} resource{'s' if number > 1 else ''} failed: "
                + "; ".join(f"{address}: {error.message}" for address, error in failures[:10]),
                failures=failures,
                cure="mend what is named and run again: what is done stays done",
            )
        if self.said:
            raise PermanentError(f"{what}: " + "; ".join(self.said), cure=f"its log is {self.log}")


class Exported(Frozen):
    """A resource as the engine's state has it."""

    urn: str
    kind: str
    address: str
    generation: str
    inputs: dict[str, Any]


def actions_as_json(actions: tuple[PlannedAction, ...]) -> list[dict[str, Any]]:
    """For ``--json``."""
    return [action.model_dump(mode="json") for action in actions]
