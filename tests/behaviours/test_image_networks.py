"""Builds whose networks fail, and whose daemon is killed while something arrives."""

from __future__ import annotations

import os
from threading import Thread
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.image_builds import WITHIN_S, registry_with_base, what_is_left
from tests.behaviours.package_index import PackageIndex
from tests.behaviours.programs import at_home
from tests.behaviours.test_image_faults import NOTHING_LEFT, check_clean, kill_daemon, text_of
from tests.support import stop_daemon
from tests.unit.images.serving import Stall
from volant.channel import current
from volant.errors import ImageBuildError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.images.registry_server import Registry

pytestmark = pytest.mark.slow


@pytest.fixture
def registry() -> Iterator[Registry]:
    with registry_with_base() as server:
        yield server


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    with PackageIndex() as server:
        server.add("words", "1.0", {"words/__init__.py": f"TEXT = {'x' * 100_000!r}\n"})
        yield server


@pytest.fixture
def own_home(own_home: Path) -> Iterator[Path]:
    with at_home(own_home):
        yield own_home


def base_of(registry: Registry) -> volant.Image:
    return volant.Image.from_registry(f"{registry.host}/python:base")


def with_words(registry: Registry, index: PackageIndex) -> volant.Image:
    image = base_of(registry).env({"UV_HTTP_RETRIES": "0"})
    return image.uv_pip_install("words", index_url=index.url).run_commands(
        'python3 -c \'import words; open("/length", "w").write(str(len(words.TEXT)))\''
    )


def finish(image: volant.Image, home: Path, path: str) -> str:
    """What an image has, built by the next daemon or this one; nothing else may be left."""
    text = text_of(image, path)
    current.forget()
    stop_daemon(home)
    check_clean(home)
    return text


def test_a_daemon_that_dies_while_a_layer_arrives_leaves_nothing(
    registry: Registry, own_home: Path
) -> None:
    """Issue 3, fault tests: the first answers with blobs are the config and the layer."""
    stalls = [Stall(), Stall()]
    stalls[0].let_go()
    registry.stalls = list(stalls)
    image = base_of(registry).run_commands("echo 1 > /one")
    builder = Thread(target=image.build, daemon=True)
    builder.start()
    stalls[1].wait()
    assert os.listdir(own_home / "images/blobs") != []
    kill_daemon(own_home)
    stalls[1].let_go()
    builder.join(WITHIN_S)
    assert not builder.is_alive()
    assert finish(image, own_home, "/one") == "1\n"
    assert os.listdir(own_home / "images/blobs") in ([], ["sha256"])


def test_a_daemon_that_dies_while_a_package_arrives_leaves_nothing(
    registry: Registry, index: PackageIndex, own_home: Path
) -> None:
    image = with_words(registry, index)
    stall = index.stall = Stall()
    builder = Thread(target=image.build, daemon=True)
    builder.start()
    stall.wait()
    kill_daemon(own_home)
    index.stall = None
    stall.let_go()
    builder.join(WITHIN_S)
    assert not builder.is_alive()
    assert finish(image, own_home, "/length") == "100000"


def test_a_layer_goes_on_to_arrive_where_its_connection_was_cut(
    registry: Registry, own_home: Path
) -> None:
    image = base_of(registry).run_commands("echo 1 > /one")
    size = max(map(len, registry.blobs.values()))
    registry.breaks = [size, size, size // 3]
    assert finish(image, own_home, "/one") == "1\n"
    ranges = [headers["Range"] for _, headers in registry.requests if headers["Range"]]
    assert ranges == [f"bytes={size // 3}-"]


def test_a_layer_that_somebody_changed_is_refused_and_fetched_again(
    registry: Registry, own_home: Path
) -> None:
    image = base_of(registry).run_commands("echo 1 > /one")
    digest, content = max(registry.blobs.items(), key=lambda pair: len(pair[1]))
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    registry.blobs[digest] = changed
    with pytest.raises(ImageBuildError, match=digest):
        image.build()
    assert what_is_left(own_home)["work"] == []
    registry.blobs[digest] = content
    assert finish(image, own_home, "/one") == "1\n"


def test_a_package_whose_connection_is_cut_is_named(
    registry: Registry, index: PackageIndex, own_home: Path
) -> None:
    image = with_words(registry, index)
    index.stall = Stall()
    index.stall.let_go()
    with pytest.raises(ImageBuildError, match=r"words==1\.0"):
        image.build()
    assert {**what_is_left(own_home), "processes": [], "mounts": []} == NOTHING_LEFT
    index.stall = None
    assert finish(image, own_home, "/length") == "100000"
