"""The public surface as a type checker sees it; `surface.py` holds the assertions.

Pyright is to agree with them too. It is not run here: with the Node.js that it needs, what PyPI has
of it (`basedpyright`) takes 280 MB. After a change of types, run it over `surface.py` by hand.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def test_signatures_survive_decoration_for_type_checkers() -> None:
    """`f.remote(...)` keeps f's signature: mypy agrees with every assertion of `surface.py`."""
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(HERE / "surface.py")],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
