"""Keeps answers that are the same for all hosts of a facility or a site: hosts are thousands, and each of them asks."""

import weakref
from collections.abc import Callable
from functools import wraps
from typing import TypeVar, TypeVarTuple

from pachon.model.base import Frozen

Of = TypeVar("Of", bound=Frozen)
Names = TypeVarTuple("Names")
Answer = TypeVar("Answer")


def once(function: Callable[[Of, *Names], Answer]) -> Callable[[Of, *Names], Answer]:
    """The function of a facility or a site, and of names, that works out each answer once while that object lives.

    Kept by identity: the object is frozen, and comparing two facilities costs more than most answers. Whoever is given
    an answer does not change it, so it is best made of tuples.
    """
    kept: dict[int, dict[tuple[*Names], Answer]] = {}

    @wraps(function)
    def asked(of: Of, *names: *Names) -> Answer:
        answers = kept.get(id(of))
        if answers is None:
            answers = kept.setdefault(id(of), {})
            weakref.finalize(of, kept.pop, id(of), None).atexit = False
        if names not in answers:
            answers[names] = function(of, *names)
        return answers[names]

    return asked
