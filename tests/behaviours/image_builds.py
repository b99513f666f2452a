"""What tests of images share: a registry with a base, and steps that wait for the test."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import volant
from tests.behaviours import host_base
from tests.behaviours.programs import at_home
from tests.support import stop_daemon
from tests.unit.images.registry_server import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.tmpdir import TempPathFactory

#: Longer than this no step takes to begin, even on a busy machine.
WITHIN_S = 60.0


@contextlib.contextmanager
def registry_with_base() -> Iterator[Registry]:
    """A registry that has `python:base`."""
    with Registry() as server:
        server.add_image(host_base.layer(), tag="base", config=host_base.config())
        yield server


@contextlib.contextmanager
def bare_image(tag: str, config: dict[str, object]) -> Iterator[volant.Image]:
    """An image with a shell and without Python, in a registry that ends with the block."""
    with Registry() as server:
        server.add_image(host_base.bare_layer(), tag=tag, config=config)
        yield volant.Image.from_registry(f"{server.host}/bare:{tag}")


@contextlib.contextmanager
def home_of_images(factory: TempPathFactory, name: str) -> Iterator[Path]:
    """A home that a module's images are built in; its daemon ends with it."""
    made = factory.mktemp(name)
    made.chmod(0o700)
    with at_home(made):
        yield made
        stop_daemon(made)


class Gate:
    """Steps that have begun, and wait: they are connected to this."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(WITHIN_S)
        self.port = port = self._listener.getsockname()[1]
        #: A command that waits until it is let go.
        self.command = (
            f"{host_base.PYTHON} -c 'import socket; "
            f'socket.create_connection(("127.0.0.1", {port})).recv(1)\''
        )

    def wait(self) -> socket.socket:
        """The next step that has come here; closing this lets it go."""
        return self._listener.accept()[0]

    def close(self) -> None:
        self._listener.close()


def bytes_on_disk(directory: Path) -> int:
    """What `du` says of a directory."""
    told = subprocess.run(
        ["du", "--summarize", "--block-size=1", directory], capture_output=True, check=False
    )  # what goes meanwhile, it complains of
    return int(told.stdout.split()[0])


def what_is_left(home: Path) -> dict[str, object]:
    """What a daemon that is gone may not leave: half layers, processes, mounts, cgroups."""
    images = home / "images"
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    run_ids = [name for name in os.listdir(home / "run") if not name.endswith(".lock")]
    return {
        "work": os.listdir(images / "work"),
        "half": [
            layer.name
            for layer in (images / "layers").iterdir()
            if not (layer / "diff").is_dir() or not (layer / "about.json").is_file()
        ],
        "new": [path.name for path in images.rglob("*.new")],
        "mounts": [line for line in mounts if f"{home}/run" in line],
        "processes": [pid for run_id in run_ids for pid in processes_of(run_id)],
    }


def processes_of(run_id: str) -> list[int]:
    """Processes that were started for a life of a launcher."""
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{name}/environ", "rb") as file:
            if f"VOLANT_RUN_ID={run_id}".encode() in file.read().split(b"\0"):
                found.append(int(name))
    return found
