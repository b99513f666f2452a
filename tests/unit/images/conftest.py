"""A registry for each test, and a directory of blobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.images.registry_server import Registry
from volantd.images.oci import BlobDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as server:
        yield server


@pytest.fixture
def blobs(tmp_path: Path) -> BlobDirectory:
    return BlobDirectory(tmp_path / "blobs")
