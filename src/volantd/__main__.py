"""`python -m volantd`: the daemon of one machine."""

from __future__ import annotations

from volantd.main import main

if __name__ == "__main__":
    main()
