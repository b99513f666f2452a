"""Who may use a memory file again, and who hears of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from volant.wire import frames, values
from volantd.hub import loans as loans_module
from volantd.hub.loans import Loans


class Peer:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.closed = False
        self.told: list[tuple[list[int], list[int]]] = []

    def write(self, frame: bytes) -> None:
        event: Any = values.decode_map(frame[6:])
        assert event.pop("op") == "released"
        self.told.append((event["tokens"], event["lost"]))


def section(token: int, kind: int = frames.MAPPED) -> bytes:
    payload = bytes(4 + 16) + token.to_bytes(8, "little")
    return frames.items_section([(kind, payload)])


def call_of(peer: Peer | None, *, retain: bool = False) -> Any:
    session = None if peer is None else SimpleNamespace(peer=peer)
    return SimpleNamespace(session=session, retain=retain)


def items() -> Any:
    return SimpleNamespace(lent=False)


def back(*tokens: object, lost: tuple[object, ...] = ()) -> dict[str, Any]:
    return {"op": "released", "tokens": list(tokens), "lost": list(lost)}


@pytest.fixture
def loans() -> Loans:
    return Loans()


@pytest.fixture
def client() -> Any:
    return Peer()


@pytest.fixture
def container() -> Any:
    return Peer()


def test_an_input_comes_back(loans: Loans, client: Any, container: Any):
    loans.lend_input(items(), section(5), call_of(client), container)
    assert loans.count == 1
    loans.returned(container, back(5))
    assert client.told == [([5], [])]
    loans.returned(container, back(5))
    assert client.told == [([5], [])], "once"
    assert not loans.count


@pytest.mark.parametrize("kind", [frames.MAPPED, frames.YIELD_MAPPED])
def test_a_result_comes_back(loans: Loans, client: Any, container: Any, kind: int):
    loans.lend_result(call_of(client), section(5, kind), container)
    loans.returned(client, back(5))
    assert container.told == [([5], [])]


def test_an_input_that_runs_twice_is_lost(loans: Loans, client: Any, container: Any):
    sent, other = items(), Peer()
    loans.lend_input(sent, section(5), call_of(client), container)
    loans.returned(container, back(5))
    loans.lend_input(sent, section(5), call_of(client), other)  # type: ignore[arg-type]
    assert client.told == [([5], []), ([], [5])]
    loans.returned(other, back(5))  # type: ignore[arg-type]
    assert len(client.told) == 2


def test_nobody_releases_what_is_another_s(loans: Loans, client: Any, container: Any):
    loans.lend_result(call_of(client), section(5), container)
    loans.returned(Peer(), back(5))  # type: ignore[arg-type]
    loans.returned(container, back(5))
    assert not container.told
    assert not client.told


@pytest.mark.parametrize("case", ["retained", "no call", "no session", "closed"])
def test_a_result_that_nobody_gets_is_lost(loans: Loans, client: Any, container: Any, case: str):
    call = call_of(None if case == "no session" else client, retain=case == "retained")
    client.closed = case == "closed"
    loans.lend_result(None if case == "no call" else call, section(5), container)
    assert container.told == [([], [5])]
    assert not loans.count


def test_a_reader_that_is_gone_loses_what_it_had(loans: Loans, client: Any, container: Any):
    loans.lend_input(items(), section(5), call_of(client), container)
    loans.forget(container)
    assert client.told == [([], [5])]
    assert not loans.count


def test_a_writer_that_is_gone_is_told_nothing(loans: Loans, client: Any, container: Any):
    loans.lend_input(items(), section(5), call_of(client), container)
    loans.forget(client)
    loans.returned(container, back(5))
    assert not client.told
    assert not loans.count


def test_what_is_not_reusable_is_lost(loans: Loans, client: Any, container: Any):
    for token in (5, 6):
        loans.lend_input(items(), section(token), call_of(client), container)
    loans.returned(container, back(5), reusable=False)
    loans.returned(container, back(lost=(6,)))
    assert client.told == [([], [5]), ([], [6])]


def test_books_are_bounded(
    loans: Loans, client: Any, container: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loans_module, "HELD_MAX", 3)
    for token in range(1, 6):
        loans.lend_input(items(), section(token), call_of(client), container)
    assert client.told == [([], [1]), ([], [2])]
    assert loans.count == 3


def test_a_token_used_twice_is_lost_the_second_time(loans: Loans, client: Any, container: Any):
    again: Any = Peer()
    loans.lend_input(items(), section(5), call_of(client), container)
    loans.lend_input(items(), section(5), call_of(again), container)
    assert again.told == [([], [5])]
    loans.returned(container, back(5))
    assert client.told == [([5], [])]


@pytest.mark.parametrize(
    "event", [{"tokens": 1, "lost": []}, back("x"), back(None), back(lost=([],))]
)
def test_nonsense_is_refused(loans: Loans, container: Any, event: dict[str, Any]):
    with pytest.raises(ValueError):
        loans.returned(container, event)


@pytest.mark.parametrize(
    "nothing",
    [
        section(0), section(1 << 63), frames.items_section([(frames.PICKLE, bytes(28))]),
        frames.items_section([(frames.MAPPED, bytes(20))]),
        frames.items_section([(frames.MAPPED, bytes(28)), (frames.MAPPED, bytes(28))]), b"",
    ],
)  # fmt: skip
def test_what_has_no_token_is_not_noted(loans: Loans, client: Any, container: Any, nothing: bytes):
    loans.lend_result(call_of(client), nothing, container)
    loans.lend_input(items(), nothing, call_of(client), container)
    assert not loans.count
    assert not container.told
    assert not client.told
