"""The shipped lab, brought up once for all tests of this folder that want it, and the order in which they have it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import shipped


@pytest.fixture(scope="session")
def copy() -> Iterator[shipped.Copy]:
    with shipped.standing() as made:
        yield made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of this folder in order; the others stay where they are."""
    own = [item for item in items if item.path.parent == Path(__file__).parent]
    own.sort(key=lambda item: shipped.FILES.index(item.path.name) if item.path.name in shipped.FILES else -1)
    following = iter(own)
    items[:] = [next(following) if item.path.parent == Path(__file__).parent else item for item in items]
