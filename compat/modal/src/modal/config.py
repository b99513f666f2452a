"""Settings as Volant has them: `modal.config.config["environment"]`."""

from __future__ import annotations

import os

from modal._standins import standins
from volant import config as _volant

__getattr__ = standins(__name__, "configure_logger")
#: What tells apart accounts: a machine has one. Programs read it by this name.
_profile = "default"


class Config:
    """The settings in force, by their names."""

    def get(self, key: str, profile: str | None = None, use_env: bool = True) -> object:
        """A setting, None for one that Volant does not have."""
        settings = _volant.load(None if use_env else {})
        return settings.values.get(key)

    def to_dict(self, include_internal: bool = False) -> dict[str, object]:
        """All settings in force."""
        return dict(_volant.load().values)

    def override_locally(self, key: str, value: str) -> None:
        """Set one for this process and those that it starts."""
        name = f"VOLANT_{key.upper()}"
        os.environ[name] = value  # noqa: TID251  # which the settings are read from

    def __getitem__(self, key: str) -> object:
        settings = _volant.load()
        return settings.values[key]


config = Config()


def config_profiles() -> list[str]:
    """Names of accounts."""
    return [_profile]


def config_set_active_profile(profile: str) -> None:
    """Change the account.

    Raises:
        KeyError: unless it is the one that there is.
    """
    if profile != _profile:
        raise KeyError(profile)
