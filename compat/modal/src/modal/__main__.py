"""The command `modal`: Volant's, called by this name."""

from __future__ import annotations

import sys

from modal import _settings
from volant.cli.main import main as volant_main


def main() -> int:
    """Serve the command line of this process; returns the exit code."""
    _settings.adopt()
    return volant_main("modal")


if __name__ == "__main__":
    sys.exit(main())
