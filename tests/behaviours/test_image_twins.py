"""The same image on two machines: what is different about them is nowhere in its layers.

The machines are two homes at different places, whose daemons were started with different umasks
at different times.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from time import time
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours import host_base
from tests.behaviours.package_index import PackageIndex
from tests.behaviours.programs import at_home
from tests.support import stop_daemon
from volantd.images.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from _pytest.tmpdir import TempPathFactory

    from tests.unit.images.registry_server import Registry


#: Of each machine the directory of its home, and the umask of its daemon.
MACHINES = (("one", 0o022), ("another/that/lies/deeper", 0o077))
#: What overlays note for themselves; it means nothing to another one.
OF_THE_KERNEL = {"user.overlay.impure", "user.overlay.origin", "user.overlay.uuid"}
#: What a build has written is dated like this here, whenever that was.
BUILT = -1.0


@pytest.fixture(scope="module")
def index() -> Iterator[PackageIndex]:
    with PackageIndex() as server:
        server.add("words", "1.0", {"words/__init__.py": "COUNT = 1\n"}, script="tell = words:main")
        yield server


def built_on_both(
    factory: TempPathFactory, make: Callable[[], volant.Image]
) -> list[tuple[Path, dict[str, dict[str, object]]]]:
    """Of each machine its home, and of each layer of the image all files."""
    found = []
    for name, umask in MACHINES:
        home = factory.mktemp("twin") / name
        home.mkdir(0o700, parents=True)
        before, began = os.umask(umask), int(time())
        try:
            with at_home(home):
                make().build()
                stop_daemon(home)
        finally:
            os.umask(before)
        layers = home / "images/layers"
        found.append((home, {
            layer: files_of(layers / layer / "diff", began) for layer in os.listdir(layers)
        }))  # fmt: skip
    return found


def files_of(top: Path, began: float) -> dict[str, object]:
    """Kind, mode, owners, time, attributes and content of everything in a layer, by its path."""
    found: dict[str, object] = {}
    for path in [top, *top.rglob("*")]:
        info = path.lstat()
        content = ""
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
            if name not in OF_THE_KERNEL
        }
        found[str(path.relative_to(top))] = (
            oct(info.st_mode), info.st_uid, info.st_gid, info.st_rdev, attributes, content,
            BUILT if info.st_mtime >= began else info.st_mtime,
            0 if stat.S_ISDIR(info.st_mode) else info.st_size,
        )  # fmt: skip
    return found


def packed(home: Path, place: Path) -> dict[str, str]:
    """What each layer is on its way to another machine, by the digest of its archive."""
    store = Store(str(home))
    store.open()
    place.mkdir()
    return {layer: store.pack(layer, place / layer).diff_id for layer in store.sizes}


def written(layers: dict[str, dict[str, object]]) -> set[str]:
    """The layers that have anything with a time of its build."""
    return {
        layer for layer, files in layers.items()
        if any(BUILT in one for one in files.values() if isinstance(one, tuple))
    }  # fmt: skip


def test_equal_images_are_equal_on_two_machines(
    registry: Registry, index: PackageIndex, tmp_path_factory: TempPathFactory, tmp_path: Path
) -> None:
    """Issue 3: of files that are copied, commands that run, Dockerfiles, and packages."""
    data = tmp_path / "data/deep/below"
    data.mkdir(parents=True)
    (data / "text").write_text("text")
    (data / "program").write_text("#!/bin/sh\n")
    (data / "program").chmod(0o755)

    def make() -> volant.Image:
        return (
            volant.Image.from_registry(f"{registry.host}/python:base")
            .add_local_dir(tmp_path / "data", "/opt/data", copy=True)
            .workdir("/srv/deep/app")
            .dockerfile_commands(
                "COPY deep /copied/deep",
                "COPY --from=0 /opt/data /again",
                context_dir=data.parents[1],
            )
            .uv_pip_install("words", index_url=index.url)
            .run_commands(
                "mkdir -p /made/there && echo x > /made/there/x && rm /opt/data/deep/below/text",
                f"{host_base.PYTHON} -m compileall -q /usr/local/lib/nowhere /made || true",
            )
        )

    (one, layers), (other, others) = built_on_both(tmp_path_factory, make)
    assert layers.keys() == others.keys()
    for layer, files in layers.items():
        assert files == others[layer], layer
    assert written(layers) == set()
    assert packed(one, tmp_path / "1") == packed(other, tmp_path / "2")


@pytest.mark.slow
def test_debian_is_equal_on_two_machines(tmp_path_factory: TempPathFactory, tmp_path: Path) -> None:
    """Issue 3: Debian itself, a Python that is moved into it, and packages of it."""

    def make() -> volant.Image:
        series = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return volant.Image.debian_slim(series).apt_install("jq")

    (one, layers), (other, others) = built_on_both(tmp_path_factory, make)
    assert layers.keys() == others.keys()
    for layer, files in layers.items():
        other_files = others[layer]
        paths = files.keys() | other_files.keys()
        assert [
            (path, files.get(path), other_files.get(path))
            for path in sorted(paths)
            if files.get(path) != other_files.get(path)
        ] == [], layer
    assert written(layers) == set()
    assert packed(one, tmp_path / "1") == packed(other, tmp_path / "2")
