"""Images without a registry: Debian from a mirror, Pythons of this machine, packages of apt.

Real builds, all in one home, as Debian's layer takes its time. Behaviours 85, 87 and 149.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import pytest

import volant
from tests.behaviours import host_base
from tests.behaviours.programs import APPS, Program, at_home
from tests.support import ROOT, run_volant, stop_daemon
from tests.unit.images.registry_server import Registry
from tests.unit.images.serving import Served
from volant.errors import ImageBuildError, InvalidError
from volantd.images.pythons.found import find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from _pytest.tmpdir import TempPathFactory


OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"
OTHERS = [series for series in ("3.10", "3.11", "3.12", "3.13", "3.14") if series != OWN]
#: Longer than this no build takes, even on a busy machine.
BUILT_WITHIN_S = 300.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("bases")
    made.chmod(0o700)
    with at_home(made):
        yield made
        stop_daemon(made)


@pytest.fixture
def debian(home: Path) -> volant.Image:
    return volant.Image.debian_slim(OWN)


def look(image: volant.Image, probe: Callable[[], Any]) -> Any:
    """What `probe` returns in a container of an image."""
    app = volant.App("bases", image=image)
    function = app.function(serialized=True)(probe)
    with app.run():
        return function.remote()


def layer(home: Path, beginning: str) -> Path:
    """The files of the one layer whose id begins so."""
    (found,) = (home / "images/layers").glob(f"{beginning}*")
    return found / "diff"


def log_of(home: Path, text: str) -> str:
    """The log of the last build that printed a text."""
    logs = [path for path in (home / "images/logs").iterdir() if text in path.read_text()]
    return max(logs, key=lambda path: path.stat().st_mtime_ns).read_text()


def system() -> dict[str, Any]:
    import locale
    import os
    import socket
    import ssl
    import zoneinfo

    with open("/etc/os-release") as file:
        release = file.read()
    return {
        "release": release,
        "certificates": len(ssl.create_default_context().get_ca_certs()),
        "encoding": locale.getpreferredencoding(),
        "shell": os.path.realpath("/bin/sh"),
        "protocol": socket.getprotobyname("tcp"),
        "zone": str(zoneinfo.ZoneInfo("Asia/Tokyo")),
        "root": sorted(os.listdir("/")),
    }


def test_debian_is_what_a_machine_of_its_own_would_be(debian: volant.Image) -> None:
    """Issue 3, 4: a whole Debian with certificates and texts in UTF-8, from a mirror."""
    seen = look(debian, system)
    assert "ID=debian" in seen["release"]
    assert seen["certificates"] > 50
    assert seen["encoding"] == "UTF-8"
    assert seen["shell"] == "/usr/bin/dash"
    assert (seen["protocol"], seen["zone"]) == (6, "Asia/Tokyo")


def test_nothing_of_this_machine_is_in_its_layer(debian: volant.Image, home: Path) -> None:
    look(debian, system)
    files = layer(home, "debian-")
    for name in ("etc/machine-id", "etc/hostname", "var/lib/apt/lists/lock"):
        assert not os.path.lexists(files / name)
    assert (files / "etc/resolv.conf").read_bytes() == b""
    assert [path for path in (files / "var/log").rglob("*") if path.is_file()] == []
    assert list((files / "usr/share/man").rglob("*.gz")) == []
    youngest = max(path.lstat().st_mtime for path in files.rglob("*"))
    assert youngest < files.parent.stat().st_ctime - 1


#: Debian's own is not moved into images: its packages are installed there.
moves = pytest.mark.skipif(
    host_base.IS_OF_DEBIAN, reason="this machine's Python is its distribution's"
)


@moves
def test_a_python_says_it_was_always_there(debian: volant.Image, home: Path) -> None:
    """Issue 3, 5: no path of this machine is in its layer."""
    look(debian, system)
    prefix = os.path.realpath(sys.base_prefix).encode() + b"/"
    files = [path for path in layer(home, f"python-{OWN}-").rglob("*") if path.is_file()]
    assert len(files) > 500
    assert [path for path in files if prefix in path.read_bytes()] == []


@pytest.mark.parametrize("series", [OWN, *OTHERS])
def test_an_image_has_the_python_that_it_asks_for(home: Path, series: str) -> None:
    """Behaviour 149: independent of the caller's own, with all modules that work there.

    And what a runner does in it: generators, async functions, exceptions of one's own.
    """
    program = Program(APPS / "based.py", series, home=home)
    try:
        printed, complaint = program.process.communicate(timeout=BUILT_WITHIN_S)
    finally:
        program.kill()
    if f"there is no Python {series} on this machine" in complaint:  # nor a suite that has it
        assert f"pyenv install {series}" in complaint
        pytest.skip(f"there is no Python {series} on this machine")
    assert program.process.returncode == 0, complaint
    seen = json.loads(printed)
    assert seen["series"] == series
    assert seen["forms"] == [[0, 1, 2], [2, 4], [3]]
    assert seen["python"] == "/usr/local/bin/python3"
    is_moved = asyncio.run(find(series, "")) is not None
    assert seen["prefix"] == "/usr/local" or (seen["prefix"] == "/usr" and not is_moved)
    assert seen["include"] == f"{seen['prefix']}/include/python{series}"
    assert set(seen["missing"]) <= set(seen["missing here"])
    assert seen["pip"].startswith("pip ")
    assert seen["compiled"]


def test_a_series_that_images_cannot_have_is_refused_where_it_is_written() -> None:
    """Behaviour 85."""
    with pytest.raises(InvalidError, match=r"2\.7"):
        volant.Image.debian_slim("2.7")


def packages() -> dict[str, Any]:
    import glob
    import subprocess

    told = subprocess.run(["jq", "--version"], capture_output=True, text=True, check=True)
    return {"jq": told.stdout, "lists": [*glob.iglob("/var/lib/apt/lists/*_*")]}


def test_packages_of_debian_are_installed(debian: volant.Image) -> None:
    seen = look(debian.apt_install("jq"), packages)
    assert seen["jq"].startswith("jq-")
    assert seen["lists"] == []


def test_a_second_image_downloads_no_package_again(debian: volant.Image, home: Path) -> None:
    look(debian.apt_install("jq"), packages)
    look(debian.env({"OTHER": "image"}).apt_install("jq"), packages)
    assert "Need to get 0 B/" in log_of(home, "Setting up jq")


class CutMirror(Served):
    """A mirror whose one package never comes to its end."""

    def __init__(self) -> None:
        self.host = self.serve(self._handler())

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        index = (
            "Package: cut-off\nVersion: 1\nArchitecture: all\nFilename: ./cut-off.deb\n"
            f"Size: 100000\nSHA256: {'0' * 64}\nDescription: x\n"
        ).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = {"/./Packages": index, "/./cut-off.deb": b"x" * 1000}.get(self.path)
                self.send_response(404 if content is None else 200)
                is_cut = self.path.endswith(".deb")
                size = 100_000 if is_cut else len(content or b"")
                self.send_header("Content-Length", str(size))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def test_a_package_whose_connection_is_cut_is_named(debian: volant.Image, home: Path) -> None:
    """Issue 3, fault tests: and of what had arrived nothing is kept."""
    with CutMirror() as mirror:
        image = debian.run_commands(
            f"echo 'deb [trusted=yes] http://{mirror.host}/ ./' >/etc/apt/sources.list.d/cut.list",
            "echo 'Acquire::Retries \"0\";' >/etc/apt/apt.conf.d/99once",
        ).apt_install("cut-off")
        with pytest.raises(ImageBuildError, match=r"Failed to fetch http://.*/cut-off\.deb"):
            image.build()
    assert os.listdir(home / "images/work") == []


def test_a_missing_package_is_named(debian: volant.Image) -> None:
    """Behaviour 87: with apt's words."""
    with pytest.raises(ImageBuildError, match="Unable to locate package no-such-package"):
        look(debian.apt_install("jq", "no-such-package"), packages)


@pytest.mark.parametrize(
    "name",
    [
        "digit_batches.py",
        "digit_classifier.py",
        "dockerfile/run.py",
        "local_package/run.py",
        "parameter_sweep.py",
        "prepared_index.py",
        "scientific_stack.py",
    ],
)
def test_an_example_prints_what_it_promises(debian: volant.Image, home: Path, name: str) -> None:
    run = run_volant("run", f"examples/{name}", home=home, within_s=BUILT_WITHIN_S)
    assert run.returncode == 0, run.stderr
    promised = (ROOT / "examples" / name).read_text().partition(f"examples/{name}\n")[2]
    assert run.stdout.endswith(promised.partition('"""')[0])  # behind what the build printed


def test_an_image_without_apt_says_so(home: Path) -> None:
    with Registry() as registry:
        registry.add_image(host_base.layer(), tag="base", config=host_base.config())
        image = volant.Image.from_registry(f"{registry.host}/python:base").apt_install("jq")
        with pytest.raises(ImageBuildError, match="this image has no apt-get"):
            look(image, packages)


def versions() -> tuple[str, str]:
    import ssl
    import sys

    return sys.executable, ssl.OPENSSL_VERSION


@moves
def test_images_of_a_registry_are_given_a_python(home: Path, tmp_path: Path) -> None:
    """Issue 3, 5: with the libraries that they lack, as they have no packages; made once."""
    with Registry() as registry:
        registry.add_image(host_base.bare_layer(), tag="bare")
        reference = f"{registry.host}/bare:bare"
        (tmp_path / "Dockerfile").write_text(f"FROM {reference}\nENV A=b\n")
        images = (
            volant.Image.from_registry(reference, add_python=OWN),
            volant.Image.from_dockerfile(tmp_path / "Dockerfile", add_python=OWN),
        )
        for image in images:
            executable, openssl = look(image, versions)
            assert executable == "/usr/local/bin/python3"
            assert openssl.startswith("OpenSSL ")
    assert len([*(home / "images/layers").glob(f"python-{OWN}-*")]) == 2  # with that on Debian


@moves
def test_an_image_without_a_c_library_cannot_be_given_one(home: Path) -> None:
    with Registry() as registry:
        registry.add_image(host_base.empty_layer(), tag="empty")
        image = volant.Image.from_registry(f"{registry.host}/none:empty", add_python=OWN)
        with pytest.raises(ImageBuildError, match="no GNU C library"):
            look(image, system)
