"""A fake hub, and channels to it that end with the test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.integration.channel.fake_hub import FakeHub
from volant.channel.opening import open_channel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from volant.channel.channel import Channel


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory as VOLANT_HOME is one."""
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture
def hub(home: Path) -> Iterator[FakeHub]:
    """A hub that listens in `home`; at the end, nothing of it and of its clients is left."""
    before = len(os.listdir("/proc/self/fd"))
    made = FakeHub(home)
    yield made
    made.close()
    assert len(os.listdir("/proc/self/fd")) == before, "descriptors were left open"


@pytest.fixture
def channel(hub: FakeHub, home: Path) -> Iterator[Channel]:
    """A channel to the fake hub."""
    made = open_channel(str(home))
    yield made
    made.close()
