"""A gateway for each test that wants one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.gateway.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def make_stage() -> Iterator[Callable[..., Stage]]:
    """Makes gateways with settings of their own."""
    stages: list[Stage] = []
    with tempfile.TemporaryDirectory() as directory:  # short, for the addresses of sockets

        def make(**settings: object) -> Stage:
            place = Path(directory) / str(len(stages))
            place.mkdir()
            stages.append(Stage(place, **settings))
            return stages[-1]

        yield make
        for stage in stages:
            stage.close()


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> Stage:
    """A gateway with one route, `app-f`, whose leases are granted at once."""
    return make_stage()
