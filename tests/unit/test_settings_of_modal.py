"""Variables that are settings of programs written for Modal."""

from __future__ import annotations

import os

import pytest

from modal import _settings
from volant import config


@pytest.fixture(autouse=True)
def _given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _settings.SETTINGS:  # what the test sets goes with it
        monkeypatch.setenv(f"VOLANT_{name}", "")
        monkeypatch.delenv(f"VOLANT_{name}")
    monkeypatch.setenv("MODAL_ENVIRONMENT", "staging")


def test_they_mean_the_same_here() -> None:
    _settings.adopt()
    assert config.load().text("environment") == "staging"


def test_what_is_said_under_our_own_name_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOLANT_ENVIRONMENT", "production")
    _settings.adopt()
    assert config.load().text("environment") == "production"


def test_in_a_container_they_are_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOLANT_IS_REMOTE", "1")
    _settings.adopt()
    assert "VOLANT_ENVIRONMENT" not in os.environ
