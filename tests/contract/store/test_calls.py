"""Every query of durable calls, over SQLite and over PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from volantd.store import calls, deployments, objects

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.store.conftest import Session
    from volantd.store.journal import Kind

T = TypeVar("T")


class Kept(bytes):
    """What is sealed already."""

    def sealed(self) -> bytes:
        return self


SECTION = Kept(range(256))
DIGEST = "d" * 64


def _write(session: Session, kind: Kind, *rows: dict[str, Any]) -> None:
    session.run(lambda connection: kind.apply(connection, list(rows)))


def _ask(session: Session, query: Callable[..., T], *given: object, **named: object) -> T:
    return session.run(lambda connection: query(connection, *given, **named))


def _call(call_id: str, created_at: float = 1.5, **given: object) -> dict[str, Any]:
    return {
        "call_id": call_id, "app_id": "ap-1", "app": "shop", "version": 1, "pinned": 0,
        "function": "f", "method": None, "variant": None, "origin": "", "parent": None,
        "parent_index": None, "inputs": 0, "closed": 0, "state": "pending", "faults": 0,
        "created_at": created_at, "finished_at": None, "made": None, **given,
    }  # fmt: skip


def _items(call_id: str, first: int, count: int, **given: object) -> dict[str, Any]:
    return {
        "call_id": call_id, "first": first, "count": count, "section": SECTION, "digest": None,
        **given,
    }  # fmt: skip


def _end(call_id: str, state: str, finished_at: float) -> dict[str, Any]:
    return {
        "call_id": call_id, "inputs": 3, "closed": 1, "state": state, "faults": 1,
        "finished_at": finished_at, "made": SECTION,
    }  # fmt: skip


def _app(app_id: str, name: str) -> dict[str, Any]:
    return {
        "app_id": app_id, "name": name, "detached": 1, "description": SECTION, "created_at": 1.0,
        "environment": "main",
    }  # fmt: skip


def test_a_call_is_kept_from_its_begin_to_its_end(session: Session):
    row = _call("c1", variant=SECTION, method="ask", parent="c0", parent_index=4)
    _write(session, calls.ADD_CALL, row, _call("c2", 2.5))
    assert _ask(session, calls.find, "c1") == calls.CallRow(**row)
    assert _ask(session, calls.find, "c3") is None
    assert [one.call_id for one in _ask(session, calls.pending)] == ["c1", "c2"]
    assert [one.call_id for one in _ask(session, calls.made_by, ["c0"], 9)] == ["c1"]
    assert _ask(session, calls.made_by, ["c0"], 0) == _ask(session, calls.made_by, [], 9) == []
    assert _ask(session, calls.ids_since, 2.0) == ["c2"]
    _write(session, calls.CLOSE_CALL, {"call_id": "c2", "inputs": 7, "closed": 1})
    _write(session, calls.FINISH_CALL, _end("c1", "success", 3.5))
    found = {one.call_id: one for one in _ask(session, calls.listed, count=9, app=None, state=None)}
    assert list(found) == ["c2", "c1"]
    assert (found["c2"].inputs, found["c2"].closed) == (7, 1)
    assert (found["c1"].state, found["c1"].finished_at) == ("success", 3.5)
    assert found["c1"].made == SECTION
    for app in ("ap-1", "shop"):
        some = _ask(session, calls.listed, count=1, app=app, state="success")
        assert [one.call_id for one in some] == ["c1"]
    assert _ask(session, calls.listed, count=1, app="ap-2", state=None) == []


def test_what_is_sent_again_stays_as_it_was(session: Session):
    _write(session, calls.ADD_CALL, _call("c1"))
    _write(session, calls.ADD_CALL, _call("c1", function="other"), _call("c2"))
    found = _ask(session, calls.find, "c1")
    assert found is not None
    assert found.function == "f"
    assert _ask(session, calls.find, "c2") is not None


def test_inputs_and_results_come_back_as_they_came(session: Session):
    _write(session, calls.ADD_CALL, _call("c1"))
    _write(session, calls.ADD_INPUTS, _items("c1", 2, 1), _items("c1", 0, 2, digest=DIGEST))
    found = _ask(session, calls.inputs_of, "c1")
    assert [(one.first, one.count, one.section, one.digest) for one in found] == [
        (0, 2, SECTION, DIGEST), (2, 1, SECTION, None),
    ]  # fmt: skip
    _write(session, calls.ADD_RESULTS, _items("c1", 1, 2, faults=1, container_id="ta-1"))
    [(first, count, *_)] = _ask(session, calls.ranges_of_results, "c1")
    assert (first, count) == (1, 2)
    result = _ask(session, calls.result_at, "c1", 2)
    assert result is not None
    assert (result.first, result.section) == (1, SECTION)
    assert _ask(session, calls.result_at, "c1", 0) is None
    assert _ask(session, calls.result_at, "c1", 3) is None
    assert _ask(session, calls.digests) == [DIGEST]


def test_results_are_counted_and_their_faults_found(session: Session):
    _write(
        session, calls.ADD_RESULTS,
        _items("c1", 0, 2, faults=0, container_id="ta-1"),
        _items("c1", 2, 1, faults=1, container_id="ta-2", digest=DIGEST),
        _items("c1", 3, 4, faults=2, container_id=""),
        _items("c2", 0, 1, faults=0, container_id="ta-1"),
    )  # fmt: skip
    assert _ask(session, calls.results_counted, ["c1", "c3"]) == {
        "c1": calls.Counted(results=7, faults=3, files=1, size=3 * len(SECTION))
    }
    assert [one.first for one in _ask(session, calls.faults_of, "c1", 9)] == [2, 3]
    assert [one.first for one in _ask(session, calls.faults_of, "c1", 1)] == [2]
    found = _ask(session, calls.results_of, "c1", 2)
    assert [(one.first, container) for one, container in found] == [(0, "ta-1"), (2, "ta-2")]


def test_what_calls_were_made_with_is_found_and_named(session: Session):
    for number in (1, 2):
        version = deployments.VersionRow(
            version=number, action="deploy", of_version=None, tag="",
            strategy="rolling", deployed_at=1.0, deployed_by="", commit_id=None, branch=None,
            dirty=None,
        )  # fmt: skip
        _ask(session, deployments.add_version, "ap-1", "shop", version, bytes([number]), {})
    _write(session, calls.ADD_APP, _app("ap-2", "job"))
    later = _call("c2", app_id="ap-1", version=2)
    _write(session, calls.ADD_CALL, _call("c1", app_id="ap-1", version=1), later)
    _write(session, calls.FINISH_CALL, _end("c2", "success", 5.0))
    first, second = "versions.description/ap-1/1", "versions.description/ap-1/2"
    kept = "kept_apps.description/ap-2", SECTION
    assert _ask(session, calls.description_of, "ap-1", 1) == (first, b"\1")
    assert _ask(session, calls.description_of, "ap-2", 0) == kept
    assert _ask(session, calls.description_of, "ap-2", 7) == kept  # a replay of a version
    assert _ask(session, calls.description_of, "ap-1", 3) is None
    assert _ask(session, calls.description_of, "ap-3", 0) is None
    assert sorted(_ask(session, calls.versions_named)) == [(first, b"\1"), (second, b"\2")]
    _ask(session, calls.expire, 10.0)
    assert _ask(session, calls.versions_named) == [(first, b"\1")]


def test_what_is_old_goes_in_its_turn(session: Session):
    _write(session, calls.ADD_APP, _app("ap-1", "shop"), _app("ap-2", "job"))
    _write(session, calls.ADD_CALL, *(_call(f"c{number}") for number in range(3)))
    _write(session, calls.ADD_INPUTS, *(_items(f"c{number}", 0, 1) for number in range(3)))
    _write(session, calls.FINISH_CALL, _end("c0", "success", 5.0), _end("c1", "failure", 50.0))
    assert _ask(session, calls.expire, 10.0) == 1
    assert _ask(session, calls.expire, 10.0) == 0
    assert _ask(session, calls.inputs_of, "c0") == []
    assert len(_ask(session, calls.inputs_of, "c1")) == 1
    assert _ask(session, calls.forget, 10.0) == 1
    assert _ask(session, calls.find, "c0") is None
    assert sorted(_ask(session, calls.kept_app_ids)) == ["ap-1", "ap-2"]
    assert _ask(session, calls.forget_apps, []) == 1
    assert _ask(session, calls.app_of, "ap-2") is None
    assert _ask(session, calls.app_of, "ap-1") == calls.KeptApp(**_app("ap-1", "shop"))
    assert _ask(session, calls.forget_apps, ["ap-1"]) == 0


def test_calls_are_listed_by_the_environment_of_their_app(session: Session):
    apart = {**_app("ap-2", "shop"), "environment": "en-1"}
    _write(session, calls.ADD_APP, _app("ap-1", "shop"), apart)
    _write(session, calls.ADD_CALL, _call("c1"), _call("c2", app_id="ap-2"))

    def listed(environment: str | None) -> list[str]:
        found = _ask(
            session, calls.listed, count=9, app="shop", state=None, environment=environment
        )
        return sorted(one.call_id for one in found)

    assert (listed("main"), listed("en-1"), listed(None)) == (["c1"], ["c2"], ["c1", "c2"])
    assert _ask(session, objects.environment_of_app, "ap-2") == "en-1"
    assert _ask(session, objects.environment_of_app, "ap-3") is None
