"""Packages of this installation that every image is lent, and none contains."""

from __future__ import annotations

import importlib.util
import os


def package_dir(name: str) -> str:
    """Where an installed package lies on this machine."""
    found = importlib.util.find_spec(name)
    assert found is not None and found.submodule_search_locations is not None
    return os.path.abspath(next(iter(found.submodule_search_locations)))
