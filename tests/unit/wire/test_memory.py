"""Memory files, with and without what a new system gives Python."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from volant.wire.memory import made_by_c_library, memory_file

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("make", [memory_file, made_by_c_library])
def test_a_memory_file_is_empty_can_be_sealed_and_is_not_inherited(make: Callable[[], int]) -> None:
    with open(make(), "r+b") as file:
        assert os.fstat(file.fileno()).st_size == 0
        assert not os.get_inheritable(file.fileno())
        file.write(b"content")
        file.flush()
        fcntl.fcntl(file, 1033, 2)  # F_ADD_SEALS, F_SEAL_SHRINK
        with pytest.raises(PermissionError):
            os.ftruncate(file.fileno(), 0)
