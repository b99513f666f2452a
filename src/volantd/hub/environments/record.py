"""What is known of one environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Characters of what addresses of web functions end with.
SUFFIX_CHARS_MAX = 24


@dataclass(slots=True, kw_only=True, eq=False)
class Environment:
    """One environment. All that is in it has this very object, so that a rename reaches it."""

    environment_id: str
    name: str
    created_at: float = 0.0
    #: what addresses of its web functions end with
    web_suffix: str = ""
    #: nothing comes into it any more, because it is being deleted
    is_ending: bool = False

    @property
    def image_prefix(self) -> str:
        """What names of its images begin with in the store of images; names of `main` do not."""
        return "" if self is MAIN else f"{self.environment_id}/"

    def row(self) -> dict[str, Any]:
        """What clients are told of it."""
        return {
            "name": self.name, "created_at": self.created_at, "web_suffix": self.web_suffix,
        }  # fmt: skip


#: The one that is always there, as it is.
MAIN = Environment(environment_id="main", name="main")
