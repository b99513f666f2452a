"""`@volant.clustered`: containers that run each input together (issue 8, item 4)."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

import volant
import volant.experimental
from tests.behaviours.apps import clustering
from tests.behaviours.programs import containers
from tests.support import eventually
from volant.errors import (
    ExecutionError,
    FunctionTimeoutError,
    InputCancellation,
    InternalFailure,
    InvalidError,
    UnimplementedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZE = clustering.SIZE
RANKS = list(range(SIZE))
#: Long enough for a busy machine.
WITHIN_S = 30.0


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with clustering.app.run():
        yield


@pytest.fixture
def began() -> Iterator[volant.Queue]:
    with volant.Queue.ephemeral() as queue:
        yield queue


def test_a_cluster_is_an_object_that_knows_its_containers(began: volant.Queue) -> None:
    clustering.known.remote(began)
    told = taken(began, SIZE)
    [members] = {tuple(ids) for _, _, ids in told}
    assert {rank: own for own, rank, _ in told} == dict(enumerate(members))


def taken(queue: volant.Queue, count: int) -> list[Any]:
    return [queue.get(timeout=WITHIN_S) for _ in range(count)]


def of_function(home: Path, name: str) -> list[dict[str, Any]]:
    return [row for row in containers(home, function=name) if row["state"] != "stopping"]


def test_all_run_an_input_and_rank_0_answers(began: volant.Queue) -> None:
    answer = clustering.where.remote(began)
    told = sorted(taken(began, SIZE))
    assert answer == told[0]
    assert [rank for rank, *_ in told] == RANKS
    assert len({cluster_id for _, cluster_id, _, _ in told}) == 1
    assert told[0][1].startswith("cu-")
    assert len({tuple(addresses) for _, _, addresses, _ in told}) == 1
    assert len({container_id for *_, container_id in told}) == SIZE


def test_a_cluster_is_used_again() -> None:
    first = clustering.where.remote()
    assert clustering.where.remote() == first


@pytest.mark.parametrize("form", ["ipv4", "own", "ipv6"])
def test_ranks_reach_each_other_at_the_port_at_which_all_listen(form: str) -> None:
    assert clustering.meet.remote(form) == [f"{rank} to 0" for rank in RANKS]


def test_several_inputs_have_a_cluster_each_or_wait_their_turn() -> None:
    heard = clustering.meet.map(["ipv4", "own", "ipv6", "ipv4"])
    assert list(heard) == 4 * [[f"{rank} to 0" for rank in RANKS]]


def test_a_cluster_may_be_of_one() -> None:
    assert clustering.single.remote() == 0


def test_outside_a_cluster_there_is_no_place_in_one() -> None:
    assert "only means something in a container of a cluster" in clustering.plain.remote()
    with pytest.raises(ExecutionError, match="in a container of a cluster"):
        volant.experimental.get_cluster_info()


@pytest.mark.parametrize("rank", [0, 2])
def test_when_one_fails_the_input_does_and_the_others_are_ended(
    began: volant.Queue, volant_home: Path, rank: int
) -> None:
    deeds = dict.fromkeys(RANKS, "wait") | {rank: "raise"}
    with pytest.raises(LookupError, match=f"rank {rank} has nothing"):
        clustering.act.remote(deeds, began)
    eventually(lambda: not of_function(volant_home, "act"))
    assert clustering.act.remote({}, began) == "rank 0 is done"


def test_the_result_waits_for_all_ranks(began: volant.Queue) -> None:
    """One that fails behind the back of rank 0 is heard of all the same."""
    with pytest.raises(FunctionTimeoutError):
        clustering.hurried.remote({2: "wait"}, began)


def test_a_timeout_ends_all(began: volant.Queue, volant_home: Path) -> None:
    with pytest.raises(FunctionTimeoutError):
        clustering.hurried.remote({1: "wait"}, began)
    eventually(lambda: not of_function(volant_home, "hurried"))
    assert clustering.hurried.remote({}, began) == "rank 0 is done"


@pytest.mark.parametrize("deed", ["raise at first"])
def test_a_retry_is_of_all_in_new_containers(began: volant.Queue, deed: str) -> None:
    assert clustering.retried.remote({1: deed, 0: "return"}, began) == "rank 0 is done"
    clusters: dict[str, list[int]] = {}
    for rank, cluster_id, _ in taken(began, began.len()):
        clusters.setdefault(cluster_id, []).append(rank)
    assert sorted(clusters.popitem()[1]) == RANKS  # the last one
    assert [1 in ranks for ranks in clusters.values()] == [True]


def test_a_cancelled_call_is_cancelled_in_all_and_the_cluster_lives(
    began: volant.Queue, volant_home: Path
) -> None:
    clustering.act.remote({}, began)
    taken(began, SIZE)
    before = {row["container_id"] for row in of_function(volant_home, "act")}
    call = clustering.act.spawn(dict.fromkeys(RANKS, "wait"), began)
    assert sorted(rank for rank, *_ in taken(began, SIZE)) == RANKS
    call.cancel()
    assert taken(began, SIZE) == SIZE * ["cancelled"]
    with pytest.raises(InputCancellation):
        call.get()
    assert clustering.act.remote({}, began) == "rank 0 is done"
    assert {row["container_id"] for row in of_function(volant_home, "act")} == before


@pytest.mark.parametrize("rank", [0, 1])
def test_when_one_is_killed_all_begin_anew(
    began: volant.Queue, volant_home: Path, rank: int
) -> None:
    call = clustering.act.spawn(dict.fromkeys(RANKS, "wait"), began)
    first = {number: (cluster, own) for number, cluster, own in taken(began, SIZE)}
    assert sorted(first) == RANKS
    [victim] = [
        row for row in of_function(volant_home, "act") if row["container_id"] == first[rank][1]
    ]
    os.kill(victim["pid"], signal.SIGKILL)
    second = {number: (cluster, own) for number, cluster, own in taken(began, SIZE)}
    assert sorted(second) == RANKS
    assert not {cluster for cluster, _ in first.values()} & {one for one, _ in second.values()}
    ids = {own for _, own in second.values()}
    eventually(lambda: {row["container_id"] for row in of_function(volant_home, "act")} == ids)
    call.cancel(terminate_containers=True)
    eventually(lambda: not of_function(volant_home, "act"))


def test_a_container_that_dies_is_named_by_its_rank(began: volant.Queue) -> None:
    with pytest.raises(InternalFailure, match="rank 2: its process ended by itself with status 3"):
        clustering.act.remote({0: "wait", 2: "die"}, began)


def test_large_results_come_from_rank_0_and_are_not_kept_elsewhere(volant_home: Path) -> None:
    size = 4 << 20
    assert clustering.large.remote(size) == b"\1" * size
    before = {row["container_id"] for row in of_function(volant_home, "large")}
    for _ in range(20):
        assert len(clustering.large.remote(size)) == size
    rows = of_function(volant_home, "large")
    assert {row["container_id"] for row in rows} == before
    assert len(before) == SIZE
    assert max(row["memory_bytes"] for row in rows) < 10 * size


def test_a_cluster_that_this_machine_has_no_room_for_fails_at_once() -> None:
    app = volant.App("too-large")

    @app.function(serialized=True, memory=1 << 22)
    @volant.clustered(size=64)
    def never() -> None: ...

    with app.run(), pytest.raises(InternalFailure, match="a cluster of 64 containers"):
        never.remote()


def _streams() -> Iterator[int]:
    yield 1


def _one() -> int:
    return 1


def _under(*decorators: Callable[[Any], Any], raw: Any = _one) -> None:
    plain = type(raw)(raw.__code__, raw.__globals__, raw.__name__)
    for decorate in reversed(decorators):
        plain = decorate(plain)


TWO = volant.clustered(size=2)


@pytest.mark.parametrize(
    ("define", "said"),
    [
        (lambda app: _under(app.function(), TWO, raw=_streams), "cannot yield values"),
        (
            lambda app: _under(app.function(), TWO, volant.concurrent(max_inputs=2)),
            "cannot have @volant.concurrent",
        ),
        (
            lambda app: _under(app.function(), TWO, volant.batched(max_batch_size=2, wait_ms=1)),
            "cannot have @volant.batched",
        ),
        (lambda app: _under(app.function(), TWO, volant.asgi_app()), "cannot answer to the web"),
        (lambda app: _under(app.function(block_network=True), TWO), "cannot have block_network"),
        (lambda app: _under(app.function(max_containers=1), TWO), "cannot have max_containers=1"),
        (lambda app: TWO(app.function(serialized=True)(_one)), "swap the order"),
        (lambda app: TWO(type("Model", (), {})), "a class cannot be a cluster"),
        (lambda app: TWO(volant.method()(_one)), "a class cannot be a cluster"),
        (lambda app: volant.clustered(size=0), "size must be from 1 to 64"),
        (lambda app: volant.clustered(_one), "needs parentheses"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_is_refused_by_name(define: Any, said: str) -> None:
    with pytest.raises(InvalidError, match=said):
        define(volant.App("refused"))


@pytest.mark.parametrize("asked", [{"rdma": True}, {"broadcast": False}, {"fabric_size": 2}])
def test_what_needs_other_machines_says_so(asked: dict[str, Any]) -> None:
    with pytest.raises(UnimplementedError, match=next(iter(asked))):
        volant.clustered(size=2, **asked)


def test_a_cluster_takes_no_inputs_side_by_side_as_a_variant() -> None:
    for variant in (
        clustering.where.with_concurrency(max_inputs=2),
        clustering.where.with_batching(max_batch_size=2, wait_ms=1),
    ):
        with pytest.raises(InvalidError, match="clustered and runs one input at a time"):
            variant.remote()
    assert clustering.where.with_options(timeout=20).remote()[0] == 0
