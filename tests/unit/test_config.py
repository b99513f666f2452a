"""Where a setting comes from, and what is said about one that does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from volant import config
from volant.errors import InvalidError

if TYPE_CHECKING:
    from pathlib import Path


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("idle_timeout_s = 1\nspare_containers = 2\n")
    environ = {"VOLANT_HOME": str(tmp_path), "VOLANT_SPARE_CONTAINERS": "3"}
    loaded = config.load(environ, {"isolation": "process"})
    assert loaded.number("idle_timeout_s") == 1
    assert loaded.number("spare_containers") == 3
    assert loaded.text("isolation") == "process"
    assert loaded.origins == {
        **dict.fromkeys(config.SETTINGS, "default"),
        "home": "environment", "spare_containers": "environment", "isolation": "flag",
        "idle_timeout_s": str(tmp_path / "config.toml"),
    }  # fmt: skip


def test_a_variable_without_a_value_is_not_set(tmp_path: Path) -> None:
    """An empty VOLANT_HOME would otherwise be the working directory."""
    loaded = config.load({"VOLANT_HOME": "", "VOLANT_IDLE_TIMEOUT_S": "", "HOME": str(tmp_path)})
    assert loaded.values["home"] == "~/.volant"
    assert set(loaded.origins.values()) == {"default"}


@pytest.mark.parametrize(
    ("environ", "message", "hint"),
    [
        ({"VOLANT_ISOLATION": "proces"}, "isolation", "auto, container, process"),
        ({"VOLANT_ISOLATON": "process"}, "isolaton", "did you mean `isolation`?"),
        ({"VOLANT_SPARE_CONTAINERS": "-1"}, "'-1' (environment)", ""),
        ({"VOLANT_TRACEBACK": "maybe"}, "'maybe' (environment)", ""),
        ({"VOLANT_DATABASE_URL": "mysql://host/db"}, "begins with postgresql://", "postgresql://"),
    ],
)
def test_what_does_not_fit_is_named(environ: dict[str, str], message: str, hint: str) -> None:
    with pytest.raises(InvalidError) as caught:
        config.load({"VOLANT_HOME": "/nonexistent", **environ})
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("postgresql://ada:s3cret@db:5432/volant", "postgresql://ada:***@db:5432/volant"),
        ("postgresql://ada@db/volant", "postgresql://ada@db/volant"),
        ("postgresql:///volant?host=/run", "postgresql:///volant"),
        ("postgresql://ada:s3@cr/et@db/volant?x=1", "postgresql://ada:***@db/volant"),
        ("postgresql://ada:s3?cret@db/volant", "postgresql://..."),
        ("postgresql://db/volant?password=s3@cret", "postgresql://..."),
        ("postgresql://db/volant?user=ada&password=s3cret", "postgresql://..."),
        ("postgresql://ada:s3:cret@db/volant", "postgresql://ada:***@db/volant"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    loaded = config.load({"VOLANT_HOME": "/nonexistent", "VOLANT_DATABASE_URL": url})
    assert loaded.shown("database_url") == shown


def test_a_refused_address_is_not_shown() -> None:
    with pytest.raises(InvalidError) as caught:
        config.load({"VOLANT_HOME": "/nonexistent", "VOLANT_DATABASE_URL": "pg://a:s3cret@b"})
    assert "s3cret" not in str(caught.value)
