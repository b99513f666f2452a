"""What tests of memory files start with, and leave."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest

from volant.wire import mappings, payloads

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def nothing_is_kept() -> Iterator[None]:
    """No file or mapping of a test before, and no descriptor left."""
    payloads.clear_memory()
    mappings._known.clear()
    before = len(os.listdir("/proc/self/fd"))
    yield
    gc.collect()
    payloads.clear_memory()
    assert len(os.listdir("/proc/self/fd")) == before
