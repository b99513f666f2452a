"""micromamba from a channel, and what it is told; the steps are played, the channel is served."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.images.conda.channel import Channel
from tests.unit.images.making import entry, layer_of
from volant.errors import ImageBuildError
from volantd.images.builder import Builder
from volantd.images.conda.program import PLATFORMS
from volantd.images.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.images.registry_server import Registry
    from volantd.images.builder import Built
    from volantd.images.workbench import Command, Say

PLATFORM = PLATFORMS[os.uname().machine]
BASE = {"kind": "micromamba", "python": "3.12"}
PROGRAM = b"#!/bin/sh\n"
SPECS = {"1" * 64: b"name: x\ndependencies:\n  - gdal\n", "2" * 64: b"gdal=3\n"}


@pytest.fixture
def channel() -> Iterator[Channel]:
    with Channel() as made:
        yield made


def make_python(root: Path) -> None:
    (root / "usr/local/bin").mkdir(parents=True)
    (root / "usr/local/bin/python3").touch()


class Bench:
    """A builder for images of conda, whose steps only leave the Python that they would."""

    def __init__(self, home: Path, registry: Registry, channel: str) -> None:
        registry.add_image(layer_of(entry("srv", b"5")), tag="debian")
        self.store = Store(str(home))
        self.store.open()
        choices = {
            "image_debian_reference": f"{registry.host}/some/debian:debian",
            "image_conda_channel": channel,
        }
        self.builder = Builder(self.store, self.run_step, self.content, choices)
        self.ran: list[Command] = []
        self.specs: list[str] = []

    async def content(self, digest: str) -> bytes:
        return SPECS[digest]

    async def run_step(self, command: Command, say: Say) -> int:
        self.ran.append(command)
        self.specs += [name for place, _ in command.shared for name in os.listdir(place)]
        make_python(Path(command.output, "diff"))
        return 0

    def build(self, *steps: dict[str, Any]) -> Built:
        return asyncio.run(self.builder.build([BASE, *steps], lambda data: None))

    @property
    def scripts(self) -> list[str]:
        return [command.argv[-1] for command in self.ran]


@pytest.fixture(autouse=True)
def _no_micromamba_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.fixture
def bench(tmp_path: Path, registry: Registry, channel: Channel) -> Bench:
    return Bench(tmp_path, registry, channel.address)


def install(*packages: str, **fields: Any) -> dict[str, Any]:
    given = {"packages": list(packages), "channels": [], "spec_file": None, **fields}
    return {"kind": "micromamba_install", **given}


def program(built: Built) -> bytes:
    (found,) = [Path(layer, "usr/local/bin/micromamba") for layer in built.layers[1:2]]
    assert found.stat().st_mode & 0o777 == 0o755
    return found.read_bytes()


def test_the_newest_program_of_a_channel_is_taken(bench: Bench, channel: Channel) -> None:
    channel.add(PLATFORM, "1.9.0", b"old")
    channel.add(PLATFORM, "1.10.0", PROGRAM)
    built = bench.build()
    assert program(built) == PROGRAM
    assert built.env["PATH"].startswith("/opt/conda/bin:")
    assert built.python == "/usr/local/bin/python3"
    told = bench.scripts[0]
    assert told.startswith("/usr/local/bin/micromamba create --yes --prefix /opt/conda ")
    assert f"--channel {channel.address} python=3.12 pip" in told


def test_a_long_list_is_read_where_there_is_no_short_one(bench: Bench, channel: Channel) -> None:
    channel.add(PLATFORM, "1.0", PROGRAM, index="repodata.json")
    assert program(bench.build()) == PROGRAM


def test_a_program_of_this_machine_is_taken_first(
    bench: Bench, channel: Channel, tmp_path: Path
) -> None:
    here = tmp_path / "bin/micromamba"
    here.parent.mkdir()
    here.write_bytes(b"of this machine")
    here.chmod(0o755)
    assert program(bench.build()) == b"of this machine"
    assert channel.requests == []


def test_a_package_that_is_not_what_was_listed_is_refused(bench: Bench, channel: Channel) -> None:
    path = channel.add(PLATFORM, "1.0", PROGRAM)
    channel.files[path] += b"more"
    with pytest.raises(ImageBuildError, match="not what its channel says"):
        bench.build()
    assert bench.ran == []


@pytest.mark.parametrize("listed", [b"{}", b"nonsense", b'{"packages": {}}', b'{"packages": 1}'])
def test_a_channel_without_it_is_named(bench: Bench, channel: Channel, listed: bytes) -> None:
    channel.files[f"/channel/{PLATFORM}/current_repodata.json"] = listed
    with pytest.raises(ImageBuildError, match=f"cannot be had from {channel.address}"):
        bench.build()


def test_without_a_channel_it_is_said_what_to_do(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(ImageBuildError, match="no micromamba on this machine") as caught:
        Bench(tmp_path, registry, "").build()
    assert "image_conda_channel" in (caught.value.hint or "")


def test_more_is_installed_from_the_channels_of_the_step(bench: Bench, channel: Channel) -> None:
    channel.add(PLATFORM, "1.0", PROGRAM)
    bench.build(install("gdal", "numpy<2", channels=["one", "two"], env={"A": "b"}))
    told = bench.scripts[-1]
    assert "micromamba install --yes --prefix /opt/conda --override-channels" in told
    assert "--channel one --channel two gdal 'numpy<2'" in told
    assert bench.ran[-1].env["A"] == "b"
    assert bench.ran[-1].env["CONDA_PREFIX"] == "/opt/conda"


@pytest.mark.parametrize(("digest", "name"), [("1" * 64, "specs.yml"), ("2" * 64, "specs.txt")])
def test_a_file_of_specifications_is_told_apart_by_its_content(
    bench: Bench, channel: Channel, digest: str, name: str
) -> None:
    channel.add(PLATFORM, "1.0", PROGRAM)
    bench.build(install(spec_file=digest))
    assert f"--file /tmp/specs/{name}" in bench.scripts[-1]
    assert bench.specs == [name]
