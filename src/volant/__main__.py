"""`python -m volant` is the `volant` command."""

from __future__ import annotations

from volant.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
