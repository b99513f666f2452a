"""Which sandboxes are remembered that have finished, and for how long."""

from __future__ import annotations

import asyncio
import json
from time import time
from typing import TYPE_CHECKING, Any

import pytest

from volantd.hub.sandboxes.book import FINISHED_MAX, FINISHED_S, Sandboxes
from volantd.hub.sandboxes.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

NOW = time()


def _row(number: int, finished_at: float | None, **more: object) -> dict[str, Any]:
    result = {"ending": "exited", "code": 3, "reason": ""}
    return {
        "sandbox_id": f"sb-{number}", "app_id": "ap-1", "app": "app", "name": None, "tags": {},
        "argv": ["true"], "timeout_s": 300.0, "created_at": NOW - FINISHED_S, "started_at": None,
        "container_id": "", "finished_at": finished_at,
        "result": None if finished_at is None else result, **more,
    }  # fmt: skip


@pytest.fixture
def book(tmp_path: Path) -> Any:
    def opened(*rows: dict[str, Any]) -> Sandboxes:
        path = tmp_path / "ledger"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

        async def made() -> Sandboxes:
            found = Sandboxes()
            found.open(Ledger(str(path)), NOW)
            return found

        return asyncio.run(made())

    return opened


def _ids(book: Sandboxes) -> list[str]:
    return [one.sandbox_id for one in book.all(with_finished=True)]


def test_the_last_ones_are_remembered(book: Any) -> None:
    rows = [_row(number, NOW - 10_000 + number) for number in range(FINISHED_MAX + 10)]
    found = _ids(book(*reversed(rows)))
    assert len(found) == FINISHED_MAX
    assert (found[0], found[-1]) == ("sb-10", f"sb-{FINISHED_MAX + 9}")


def test_those_that_ended_long_ago_are_not(book: Any) -> None:
    rows = [_row(1, NOW - FINISHED_S - 1), _row(2, NOW - FINISHED_S + 1)]
    assert _ids(book(*rows)) == ["sb-2"]


def test_one_without_an_end_was_ended_with_its_daemon(book: Any) -> None:
    [one] = book(_row(1, None)).all(with_finished=True)
    assert one.result.code == 137
    assert "daemon of this machine ended" in one.result.reason


def test_the_environment_is_remembered_by_its_id(book: Any) -> None:
    told = {"environment_id": "en-1", "environment": "testing", "exit_image_id": "im-1"}
    made = book(_row(1, NOW, **told), _row(2, NOW), _row(3, NOW, environment_id="main"))
    first, second, third = made.all(with_finished=True)
    assert (first.app.environment.environment_id, first.row()["environment"]) == ("en-1", "testing")
    assert first.exit_image_id == "im-1"
    assert second.app.environment is third.app.environment
    assert second.row()["environment"] == "main"


def test_a_row_that_is_none_is_left_out(book: Any) -> None:
    assert _ids(book({"sandbox_id": "sb-1"}, _row(2, NOW, environment_id=7))) == []


def test_past_sidecars_are_known_by_their_sandbox(book: Any) -> None:
    rows = [_row(1, NOW, name="main"), _row(2, NOW, name="main", sidecar_of="sb-1"), _row(3, NOW)]
    known = book(*rows)
    of = known.get("sb-1")
    found = known.sidecars_of(of, with_finished=True)
    assert [one.sandbox_id for one in found] == ["sb-2"]
    assert known.sidecars_of(of) == []
    assert known.named("ap-1", "main", with_finished=True) is of
