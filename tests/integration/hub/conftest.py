"""A hub for each test, whose end finds everything that was left behind."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from tests.integration.hub.world import World, fd_count, silence_logs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.hub.world import Client


@pytest.fixture(scope="session", autouse=True)
def _first_loop(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The first event loop of a process opens descriptors that stay."""
    World(tmp_path_factory.mktemp("first")).close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A hub that must be whole at the end of the test, and leave no descriptor."""
    silence_logs()
    gc.collect()  # what a test before this one has left
    before = fd_count()
    made = World(tmp_path)
    try:
        yield made
        made.check()
    finally:
        made.close()
    del made
    gc.collect()
    assert fd_count() == before, "descriptors were left open"


@pytest.fixture
def client(world: World) -> Client:
    """A client that has said hello."""
    return world.client()


@pytest.fixture
def small_world(tmp_path: Path) -> Iterator[World]:
    """Room for few containers, so that what is asked for at random stays small."""
    silence_logs()
    made = World(tmp_path, capacity=4)
    made.serve = lambda x: x
    made.opens = False
    try:
        yield made
        made.check()
    finally:
        made.close()
