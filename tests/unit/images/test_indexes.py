"""Where packages are looked for: settings of the machine, of the image and of a step."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from volant.errors import ImageBuildError
from volantd.images.packages import indexes
from volantd.images.packages.indexes import Indexes

if TYPE_CHECKING:
    from pathlib import Path

PIP = "[global]\nindex_url = https://pip/simple\nextra-index-url =\n  https://more/simple\n"
UV = 'find-links = ["/wheels"]\n[[index]]\nurl = "https://uv/simple"\ndefault = true\n'


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment whose files of settings lie in `tmp_path`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return {
        "XDG_CONFIG_HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "shared"),
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "UV_CONFIG_FILE": str(tmp_path / "uv.toml"),
    }  # fmt: skip


def test_a_machine_that_is_told_by_pips_files(settings: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text(PIP)
    found = indexes.of_machine(settings)
    assert (found.default, found.extra) == ("https://pip/simple", ("https://more/simple",))


def test_variables_go_before_files(settings: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text(PIP)
    found = indexes.of_machine({**settings, "PIP_INDEX_URL": "https://variable/simple"})
    assert (found.default, found.extra) == ("https://variable/simple", ("https://more/simple",))


def test_settings_of_uv_go_before_those_of_pip(settings: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text(PIP)
    (tmp_path / "uv.toml").write_text(UV)
    found = indexes.of_machine(settings)
    assert found == Indexes(default="https://uv/simple", links=("/wheels",))


@pytest.mark.parametrize(("name", "text"), [("pip.conf", "no section"), ("uv.toml", "= 1")])
def test_a_file_of_settings_that_cannot_be_read_is_named(
    settings: dict[str, str], tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ImageBuildError, match=name):
        indexes.of_machine(settings)


def test_no_settings_are_pypi() -> None:
    assert Indexes().variables() == {}


def test_an_index_of_a_step_replaces_those_of_the_machine() -> None:
    machine = Indexes(default="https://a", extra=("https://b",), links=("/c",))
    assert indexes.of_step({"index_url": "https://x"}).beside(machine).extra == ()
    more = indexes.of_step({"extra_index_url": "https://y https://z", "find_links": "/w"})
    assert more.beside(machine).variables() == {
        "UV_DEFAULT_INDEX": "https://a", "UV_INDEX": "https://y https://z https://b",
        "UV_FIND_LINKS": "/w,/c",
    }  # fmt: skip


def test_directories_of_the_machine_are_shown_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a/simple").mkdir(parents=True)
    (tmp_path / "wheels").mkdir()
    given = Indexes(
        default="https://a/simple",
        extra=(f"file://{tmp_path}/a/simple", f"named={tmp_path.as_uri()}/a/simple"),
        links=(f"{tmp_path}/wheels", f"{tmp_path}/absent"),
    )
    changed, places = indexes.shown(given)
    assert changed.default == given.default
    first, wheels = places
    assert places == {first: f"{tmp_path}/a", wheels: f"{tmp_path}/wheels"}
    assert changed.extra == (f"file://{first}/simple", f"named=file://{first}/simple")
    assert changed.links == (wheels, f"{tmp_path}/absent")


def test_passwords_are_found_also_alone_and_decoded() -> None:
    found = indexes.credentials(["https://me:pass%40word@host/x", "https://token1@host/y"])
    assert found == ("me:pass%40word", "pass%40word", "pass@word", "token1")
    assert indexes.credentials(["https://host/x@y", "https://u:p@host"]) == ()
    assert indexes.credentials([], ["a secret", "x"]) == ("a secret",)


def test_the_machines_authorities_and_proxies(tmp_path: Path) -> None:
    bundle = tmp_path / "authorities.pem"
    bundle.touch()
    environ = {"PIP_CERT": str(bundle), "SSL_CERT_FILE": "/absent", "HTTPS_PROXY": "http://proxy"}
    assert indexes.certificates(environ) == os.fspath(bundle)
    assert indexes.way_out(environ) == {"HTTPS_PROXY": "http://proxy"}
