"""The host image: where this machine's Python is, as a container can find it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from volant.sdk.images.host import straight

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("{root}/a/../env/bin/python", "{root}/env/bin/python"),
        ("{root}/a/b/../../env/./bin/python", "{root}/env/bin/python"),
        ("{root}/a/./x", "{root}/a/x"),
        # Behind a link `..` is where that leads; Python itself is a link, which stays.
        ("{root}/link/../env/bin/python", "{root}/a/env/bin/python"),
        ("/usr/bin/python3", "/usr/bin/python3"),
    ],
)
def test_a_path_has_no_way_back_in_it(tmp_path: Path, given: str, found: str) -> None:
    root = tmp_path.resolve()
    (root / "a" / "b").mkdir(parents=True)
    (root / "link").symlink_to(root / "a" / "b")
    (root / "env" / "bin").mkdir(parents=True)
    os.symlink("/bin/sh", root / "env" / "bin" / "python")
    assert straight(given.format(root=root)) == found.format(root=root)
