"""What is kept no longer: old results, and contents that nothing names."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from volant import errors
from volant.wire.payloads import dumps
from volantd.hub import retained
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
    monkeypatch.setattr(retained, "CALLS_MAX", 1)
    client.open()
    old = client.spawn()
    _answer_with_a_file(world)
    client.spawn()
    _answer_with_a_file(world)  # now the first one's result is in the database alone
    assert old.removeprefix("fc-") not in world.hub.calls
    assert client.value(client.get(old))[7] == 7
    _look(world, 3600.0)
    assert client.value(client.get(old))[7] == 7, "it is not old yet"
    world.services.contents.put(hashlib.sha256(b"unnamed").hexdigest(), b"unnamed")
    _look(world, -60.0)
    assert _contents(world.home) == set()
    with pytest.raises(errors.OutputExpiredError, match="kept no more"):
        client.reply(client.get(old))
    monkeypatch.setattr(retention, "KNOWN_S", 0.0)
    _look(world, -60.0)
    with pytest.raises(errors.NotFoundError):
        client.reply(client.get(old))


def test_what_is_new_stays(world: World, client: Client):
    client.open()
    client.spawn()
    _answer_with_a_file(world)
    world.services.contents.put(hashlib.sha256(b"new").hexdigest(), b"new")
    before = _contents(world.home)
    _look(world, 3600.0)
    assert _contents(world.home) == before
    for name in before:
        os.utime(world.home / "blobs" / name[:2] / name, (1.0, 1.0))
    _look(world, 3600.0)
    assert before - _contents(world.home) == {hashlib.sha256(b"new").hexdigest()}


def _answer_with_a_file(world: World) -> None:
    container = next(one for one in world.containers if one.batches)
    kind, payload, fd = dumps(np.arange(1 << 20))
    assert fd is not None
    container.outcome(container.batches[0], [(kind, payload)], fd)
    os.close(fd)
    world.turn()
