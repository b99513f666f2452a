"""Kinds of steps, each in a module that is imported when it is used."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

from volantd.images import steps


def test_every_kind_of_every_module_is_found() -> None:
    found = {
        name: module
        for module in set(steps.MODULES.values())
        for name in import_module(f"volantd.images.steps.{module}").KINDS
    }
    assert found == steps.MODULES
    assert all(steps.kind_of(name) is not None for name in steps.MODULES)
    assert steps.kind_of("__init__") is steps.kind_of("") is None


def test_a_daemon_that_starts_imports_none_of_them() -> None:
    """Nor what only they need."""
    told = subprocess.run(
        [sys.executable, "-c", "import sys, volantd.main; print(*sys.modules)"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    modules = set(told.stdout.split())
    kinds = {f"volantd.images.steps.{module}" for module in steps.MODULES.values()} - {
        "volantd.images.steps.lookup"  # names of images are looked up when an app opens
    }
    assert "volantd.images.builder" in modules
    assert not modules & {*kinds, "volantd.images.oci", "tarfile", "uv", "urllib.request"}
