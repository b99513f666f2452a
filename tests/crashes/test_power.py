"""A few cuts of the power; `scripts/crashes --power-cuts` makes hundreds."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.crashes.__main__ import (
    HEAD,
    KILLS,
    KILLS_POSTGRES,
    POWER_CUTS,
    put,
    report_cuts,
)
from tests.crashes.power.cuts import Cuts, cut
from tests.crashes.power.disk import Op, entries
from tests.crashes.power.recording import record

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_what_was_acknowledged_is_there_after_a_power_cut(tmp_path: Path):
    written = record(tmp_path, calls=60, loads=1)
    assert sum(one.op is Op.TOLD for one in entries(written)) > 60
    found = cut(written, tmp_path / "home", 4, seed=1)
    assert found.verdict.wrong == []
    assert found.verdict.counts["calls"] > 0


def test_the_page_has_all_parts_in_their_order_whichever_is_made_anew(tmp_path: Path):
    page = tmp_path / "page.md"
    file, server = (f"{name}\n\nkilled\n" for name in (KILLS, KILLS_POSTGRES))
    cuts = report_cuts(Cuts(), 1, 2.0)
    assert cuts.startswith(POWER_CUTS)
    put(page, file)
    assert page.read_text() == f"{HEAD}\n{file}"
    for part in (cuts, server, file, cuts):
        put(page, part)
    assert page.read_text() == "\n".join([HEAD, file, server, cuts])
