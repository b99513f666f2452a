"""What is kept no longer: old results, and contents that nothing names."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from volant import errors
from volantd.hub.durable import retention
from volantd.hub.durable.retention import Retention

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.hub.world import Client, World


def _contents(home: Path) -> set[str]:
    return {path.name for path in (home / "blobs").rglob("*") if path.is_file()}


def _look(world: World, kept_s: float) -> None:
    world.loop.run_until_complete(Retention(world.services, kept_s).look())


def test_results_go_with_their_contents_when_they_are_old(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retention, "FRESH_S", -60.0)
    client.open()
    world.serve = lambda x: x
    old = client.spawn(np.arange(1 << 20).tobytes())
    assert client.value(client.get(old))
    world.hub.calls.clear()
    _look(world, 3600.0)
    assert client.value(client.get(old)), "it is not old yet"
    world.services.contents.put(hashlib.sha256(b"unnamed").hexdigest(), b"unnamed")
    _look(world, -60.0)
    assert _contents(world.home) == set()
    with pytest.raises(errors.OutputExpiredError, match="kept no more"):
        client.reply(client.get(old))
    monkeypatch.setattr(retention, "KNOWN_S", 0.0)
    _look(world, -60.0)
    with pytest.raises(errors.NotFoundError):
        client.reply(client.get(old))


def test_what_runs_and_what_is_new_stays(world: World, client: Client):
    client.open()
    running = client.spawn(np.arange(1 << 20).tobytes())
    world.services.contents.put(hashlib.sha256(b"new").hexdigest(), b"new")
    before = _contents(world.home)
    _look(world, -60.0)
    assert _contents(world.home) == before
    for name in before:
        os.utime(world.home / "blobs" / name[:2] / name, (1.0, 1.0))
    _look(world, -60.0)
    assert hashlib.sha256(b"new").hexdigest() not in _contents(world.home)
    [container] = world.containers
    container.answer(container.batches[0], lambda x: len(x))
    world.turn()
    assert client.value(client.get(running)) == 8 << 20
