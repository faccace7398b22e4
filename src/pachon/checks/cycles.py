"""Things that need each other in a circle, which no order can start."""

from collections.abc import Collection, Mapping


def circle(needs: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """The first circle there is, each needing the next one and the last the first; empty if there is none.

    Names that are needed and have no needs of their own may be left out of the mapping.
    """
    done: set[str] = set()
    for start in sorted(needs):
        path: list[str] = []
        on_path: dict[str, int] = {}
        waiting: list[tuple[str, bool]] = [(start, True)]
        while waiting:
            name, entering = waiting.pop()
            if not entering:
                path.pop()
                del on_path[name]
                done.add(name)
                continue
            if name in on_path:
                return tuple(path[on_path[name] :])
            if name in done:
                continue
            on_path[name] = len(path)
            path.append(name)
            waiting.append((name, False))
            waiting += [(need, True) for need in sorted(needs.get(name, ()), reverse=True)]
    return ()


def circles(needs: Mapping[str, Collection[str]]) -> tuple[tuple[str, ...], ...]:
    """Circles that share no link, until none is left: each can be mended by itself."""
    left = {name: set(wanted) for name, wanted in needs.items()}
    found: list[tuple[str, ...]] = []
    while round_ := circle(left):
        found.append(round_)
        left[round_[-1]].discard(round_[0])
    return tuple(found)
