"""The known word that somebody most likely meant: what turns a complaint into a cure."""

import string
from collections.abc import Collection, Iterator
from difflib import get_close_matches

LETTERS = string.ascii_letters + string.digits + "-_"
FEW = 200
"""Among more known words only those one slip away are looked for: comparing with each would take minutes."""
LONGEST = 60


def _one_slip_away(word: str) -> Iterator[str]:
    """Every word that one letter more, less, changed or swapped makes of this one."""
    for at in range(len(word) + 1):
        before, after = word[:at], word[at:]
        yield from (before + letter + after[1:] for letter in LETTERS if after)
        yield from (before + letter + after for letter in LETTERS)
        if after:
            yield before + after[1:]
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]


def nearest(word: str, known: Collection[str]) -> str | None:
    """The known word nearest to one that is not known, if any is near."""
    word = word[:LONGEST]
    if len(known) <= FEW:
        found = get_close_matches(word, sorted(known), n=1, cutoff=0.6)
        return found[0] if found else None
    among = frozenset(known)
    return next((candidate for candidate in _one_slip_away(word) if candidate in among), None)


def did_you_mean(word: str, known: Collection[str]) -> str:
    """``did you mean 'x'?`` when a known word is near, else nothing."""
    found = nearest(word, known)
    return f"did you mean {found!r}?" if found is not None else ""
