"""Containers: how they start, end, fail and are told apart, and what becomes of their inputs."""

from __future__ import annotations

import os
import signal
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import function_spec
from tests.integration.hub.world import NONE, PlayedCgroup, readable
from volant import errors
from volant.wire import frames, values
from volant.wire.faults import encode_fault
from volantd.agent import agent as agents
from volantd.agent.containers import running as runnings
from volantd.hub.hub import STATUS_PERIOD_S
from volantd.runtime.client import PrepareFailedError, RuntimeFailedError

if TYPE_CHECKING:
    from tests.integration.hub.world import Client, World

ENDS = {
    "status 0": (0, "ended by itself with status 0"),
    "status 3": (3 << 8, "ended by itself with status 3"),
    "killed": (9, r"killed by signal 9 \(SIGKILL\)"),
    "segmentation fault": (11, r"killed by signal 11 \(SIGSEGV\)"),
    "unknown signal": (63, r"killed by signal 63 \(unknown\)"),
}


def test_an_input_whose_container_dies_runs_again_elsewhere(world: World, client: Client):
    client.open(function_spec(max_containers=1))
    number = client.call(5)
    world.containers[0].exit(9)
    world.serve = lambda x: x + 1
    world.turn()
    assert client.value(number) == 6
    assert len(world.containers) == 2


@pytest.mark.parametrize(("status", "text"), ENDS.values(), ids=ENDS)
def test_an_input_that_takes_every_container_along_fails_with_the_cause(
    world: World, client: Client, status: int, text: str
):
    client.open(function_spec(max_containers=1))
    for pool in world.hub.scheduler.state.pools.values():
        object.__setattr__(pool.config, "max_platform_retries", 1)
    number = client.call(5)
    for _ in range(2):
        world.live()[0].exit(status)
        world.turn()
    with pytest.raises(errors.InternalFailure, match=f"died 2 times.*{text}"):
        client.value(number)


def test_results_that_a_container_sent_before_it_died_count(world: World, client: Client):
    client.open(function_spec(max_containers=1))
    number = client.call(5)
    [container] = world.containers
    container.answer(container.batches[0], lambda x: x + 1)
    container.exit(9)
    world.turn()
    assert client.value(number) == 6
    assert client.deliveries == 1


def test_memory_that_ran_out_is_told_apart(world: World, client: Client):
    client.open(function_spec(max_containers=1, memory=(64, 100)))
    for pool in world.hub.scheduler.state.pools.values():
        object.__setattr__(pool.config, "max_platform_retries", 0)
    number = client.call(5)
    [container] = world.containers
    container.cgroup.oom_kills = 1
    container.exit(9)
    world.turn()
    with pytest.raises(errors.InternalFailure, match=r"limit 100 MiB, peak 96 MiB"):
        client.value(number)


def test_an_import_that_raises_fails_every_waiting_input_with_it(world: World, client: Client):
    try:
        raise ModuleNotFoundError("No module named 'nothing'")
    except ModuleNotFoundError as error:
        world.prepare_failures.append(PrepareFailedError(encode_fault(error)))
    client.open()
    number = client.submit([1, 2])
    world.turn()
    for index in range(2):
        with pytest.raises(ModuleNotFoundError, match="nothing"):
            client.value(number, index)


def test_a_function_that_is_not_found_in_its_module_fails_its_inputs(world: World, client: Client):
    world.starts = False
    client.open()
    number = client.call(1)
    [container] = world.containers
    container.refuse(encode_fault(AttributeError("no f here")))
    container.exit(1 << 8)
    world.turn()
    with pytest.raises(AttributeError, match="no f here"):
        client.value(number)


def test_a_container_that_refused_to_start_and_stays_is_killed(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(agents, "STOP_GRACE_S", 0.01)
    world.starts = False
    client.open()
    client.call(1)
    [container] = world.containers
    container.refuse(encode_fault(AttributeError("no f here")))
    world.until(lambda: container.signals)
    assert container.signals == [9]


def test_a_fork_that_fails_is_tried_again(world: World, client: Client):
    world.fork_failures += [RuntimeFailedError("no cell"), RuntimeFailedError("no cell")]
    world.serve = lambda x: x
    client.open()
    number = client.call(1)
    world.until(lambda: number in client.results)
    assert client.value(number) == 1


def test_forks_that_always_fail_end_the_call_with_the_reason(world: World, client: Client):
    world.fork_failures += [RuntimeFailedError("no cell can be made")] * 50
    client.open(function_spec(max_containers=1))
    number = client.call(1)
    world.until(lambda: number in client.results)
    with pytest.raises(errors.InternalFailure, match="no container for `f`: no cell can be made"):
        client.value(number)


def test_a_container_that_cannot_be_limited_is_not_used(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    world.serve = lambda x: x
    client.open(function_spec(memory=(64, 100)))
    failures = [OSError("no limit"), OSError("no limit")]

    def limit(*_: object) -> None:
        if failures:
            raise failures.pop()

    monkeypatch.setattr(PlayedCgroup, "limit", limit)
    number = client.call(1)
    world.until(lambda: number in client.results)
    assert client.value(number) == 1
    assert [container.signals for container in world.containers[:2]] == [[9], [9]]


def test_a_container_may_answer_start_only_once(world: World, client: Client):
    client.open()
    client.call(1)
    [container] = world.containers
    container.ready()
    world.turn()
    assert container.signals == [9]


def test_an_app_that_ends_while_its_containers_start_leaves_none(world: World, client: Client):
    """The zygote is not ready yet, or the fork is on its way, or START is not answered."""
    world.starts = False
    for turns in range(6):
        app_id = client.open(function_spec(min_containers=2))
        for _ in range(turns):
            world._round(0.0)
        client.request("app_close", app_id=app_id, reason="x")
        world.turn()
        assert world.live() == []
        assert world.agent.rows() == []
    assert world.services.zygotes.prepared.in_use == 0  # type: ignore[attr-defined]  # played
    assert world.hub.scheduler.state.fleet.nodes["local"].ledger.booked_count == 0


def test_a_single_use_container_takes_one_input(world: World, client: Client):
    world.serve = lambda x: x
    client.open(function_spec(single_use_containers=True))
    numbers = [client.call(index) for index in range(3)]
    assert [client.value(number) for number in numbers] == [0, 1, 2]
    assert len(world.containers) == 3
    assert [container.exited.done() for container in world.containers] == [True] * 3


def of_three_inputs(*, is_async: bool) -> dict[str, Any]:
    """A function whose one container runs three inputs at once."""
    spec = {**function_spec(max_containers=1), "is_async": is_async}
    spec["options"] = {**spec["options"], "max_inputs": 3}
    return spec


def test_a_container_of_several_inputs_gets_them_one_by_one_and_no_signal(
    world: World, client: Client
):
    client.open(of_three_inputs(is_async=True))
    cancelled = client.call(0)
    number = client.submit([1, 2, 3])
    world.turn()
    [container] = world.containers
    assert container.start["max_inputs"] == 3
    assert [batch.count for batch in container.batches] == [1, 1, 1]
    client.event("cancel", call=cancelled)
    world.turn()
    assert container.events == [{"op": "cancel", "batch": container.batches[0].key}]
    assert container.signals == [], "it listens by itself"
    for batch in container.batches[:0:-1]:  # each is answered when it is done
        container.answer(batch, lambda x: 10 * x)
    world.turn()
    assert [client.value(number, index) for index in range(2)] == [10, 20]


def test_a_container_of_threads_ends_with_an_input_that_is_cancelled(world: World, client: Client):
    client.open(of_three_inputs(is_async=False))
    number = client.submit([1, 2])
    cancelled = client.call(3)
    client.event("cancel", call=cancelled)
    world.turn()
    [first, second] = world.containers
    assert first.signals == [signal.SIGKILL]
    for batch in list(second.batches):
        second.answer(batch, lambda x: 10 * x)
    world.turn()
    assert [client.value(number, index) for index in range(2)] == [10, 20]


def test_a_container_that_is_told_to_stop_and_stays_is_killed(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(agents, "STOP_GRACE_S", 0.03)
    monkeypatch.setattr(agents, "LOST_GRACE_S", 0.0)
    client.open(function_spec(single_use_containers=True))
    client.call(1)
    [container] = world.containers
    container.leaves = False
    container.answer(container.batches[0], lambda x: x)
    world.turn()
    assert container.broken, "its connection is closed: the sign to leave"
    assert container.signals == [], "it has its time"
    world.until(lambda: container.signals)
    assert container.signals == [9]


def test_a_container_that_cannot_be_reached_any_more_is_killed(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    """User code may close descriptors that are not its own."""
    monkeypatch.setattr(agents, "LOST_GRACE_S", 0.01)
    client.open(function_spec(max_containers=1))
    number = client.call(1)
    [container] = world.containers
    container.close()
    world.serve = lambda x: x
    world.until(lambda: number in client.results)
    assert container.signals == [9]


def test_an_idle_container_leaves_after_its_window(world: World, client: Client):
    world.serve = lambda x: x
    client.open(function_spec(scaledown_window=0.05))
    client.call(1)
    world.until(lambda: not world.live())
    world.turn()
    assert world.agent.rows() == []


def test_a_container_can_be_stopped_by_its_id_and_its_input_runs_again(
    world: World, client: Client
):
    client.open(function_spec(max_containers=1))
    number = client.call(1)
    [row] = client.request("container_list")["containers"]
    assert (row["state"], row["function"], row["pid"]) == ("busy", "f", os.getpid())
    [container] = world.containers
    client.request("container_stop", container=row["container_id"])
    assert [event["op"] for event in container.events] == ["preempt"]
    assert container.signals == [signal.SIGUSR1]
    world.serve = lambda x: x
    container.exit(0)
    world.turn()
    assert client.value(number) == 1
    with pytest.raises(errors.NotFoundError, match="no container 'ta-none'"):
        client.request("container_stop", container="ta-none")


def test_what_a_container_prints_reaches_its_client_before_its_result(world: World, client: Client):
    client.open(output=True)
    number = client.call(1)
    [container] = world.containers
    container.print(b"hello\n")
    container.print(b"trouble\n", "stderr")
    container.answer(container.batches[0], lambda x: x)
    world.turn()
    logs = [event for event in client.events if event["op"] == "log"]
    assert [(event["stream"], event["data"]) for event in logs] == [
        ("stdout", b"hello\n"),
        ("stderr", b"trouble\n"),
    ]
    assert client.value(number) == 1


def statuses(client: Client) -> list[tuple[int, int, int]]:
    """What a client was told: containers that start and run, inputs that wait."""
    return [
        (event["starting"], event["running"], event["queued"])
        for event in client.events
        if event["op"] == "status"
    ]


def test_a_client_is_told_how_far_a_map_is(world: World, client: Client):
    """What runs and waits is what is not done yet, whoever holds it."""
    client.open(function_spec(max_containers=1), output=True)
    client.submit([0, 1, 2, 3])
    world.until(lambda: statuses(client))
    assert statuses(client)[0] == (1, 0, 4)
    world.until(lambda: statuses(client)[-1] == (0, 1, 3))
    [container] = world.containers
    for expected in ((0, 1, 2), (0, 1, 1), (0, 1, 0), (0, 0, 0)):
        container.outcome(container.batches[0], [(frames.PICKLE, NONE)])
        world.until(lambda: statuses(client)[-1] == expected)  # noqa: B023  # asked at once


def test_inputs_that_share_a_container_all_count_as_running(world: World, client: Client):
    client.open(of_three_inputs(is_async=False), output=True)
    client.submit([0, 1, 2, 3, 4])
    world.until(lambda: statuses(client)[-1:] == [(0, 3, 2)])


def test_a_client_is_not_told_of_every_input(world: World, client: Client):
    """Ten times a second will do, and what has not changed is not said again."""
    world.serve = lambda x: x
    client.open(function_spec(max_containers=1), output=True)
    began = monotonic()
    for value in range(100):
        client.call(value)
    world.until(lambda: statuses(client)[-1:] == [(0, 0, 0)])
    assert len(statuses(client)) <= 2 + (monotonic() - began) / STATUS_PERIOD_S
    world.until(lambda: not any(one.change_noted for one in world.hub.functions.values()))


def test_a_container_that_prints_without_end_does_not_hold_the_hub(world: World, client: Client):
    client.open(output=True)
    client.call(1)
    [container] = world.containers
    read = os.read
    reads = 0

    def endless(fd: int, size: int) -> bytes:
        """A pipe that is full again after every read."""
        nonlocal reads
        reads += 1
        assert reads < 1000, "the hub does nothing but read"
        return b"y" * size

    [running] = world.agent.running()
    container.print(b"y")
    os.read = endless  # the kernel is what is played here
    try:
        running.drain_logs()
    finally:
        os.read = read
    assert reads < 100


def test_containers_of_a_client_that_takes_no_output_have_to_wait(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runnings, "LOG_BYTES_AHEAD_MAX", 1000)
    client.open(output=True)
    client.call(1)
    [container] = world.containers
    receive, client.receive = client.receive, lambda: False  # type: ignore[method-assign]
    [running] = world.agent.running()
    world.until(lambda: _print_until_congested(world, container, running))
    container.print(b"last\n")
    world.turn()
    client.receive = receive  # type: ignore[method-assign]
    world.until(lambda: any(event.get("data") == b"last\n" for event in client.events))


def _print_until_congested(world: World, container, running) -> bool:
    if running.is_congested():
        return True
    container.print(b"x" * 60_000)
    world.turn()
    return bool(running.is_congested())


def test_what_a_dead_container_printed_last_is_kept(world: World, client: Client):
    app_id = client.open()
    client.call(1)
    [container] = world.containers
    container_id = container.start["container_id"]
    container.print(b"last words\n")
    container.exit(9)
    world.turn()
    for reply in (
        client.request("app_logs", app=app_id),
        client.request("container_logs", container=container_id, tail=5),
    ):
        assert [entry["data"] for entry in reply["entries"]] == [b"last words\n"]


def test_a_pipe_that_the_container_closed_is_read_no_more(world: World, client: Client):
    client.open()
    client.call(1)
    [container] = world.containers
    os.close(container.stdout)
    container.stdout = os.open(os.devnull, os.O_WRONLY)
    world.turn()
    container.print(b"still here\n", "stderr")
    container.answer(container.batches[0], lambda x: x)
    world.turn()
    assert not readable(container.stream.sock.fileno())


def test_a_container_that_reports_more_than_it_was_given_is_killed(world: World, client: Client):
    client.open(function_spec(max_containers=1))
    number = client.call(1)
    [container] = world.containers
    container.event("returned", batch=container.batches[0].key, count=7)
    world.serve = lambda x: x
    world.turn()
    assert container.signals == [9]
    assert client.value(number) == 1


def test_what_a_container_says_of_unknown_batches_is_ignored(world: World, client: Client):
    client.open()
    number = client.call(1)
    [container] = world.containers
    section = frames.items_section([(frames.PICKLE, b"x")])
    with open(os.memfd_create("file"), "wb") as file:
        container.send(
            frames.hot(frames.OUTCOME, frames.HAS_FD, 999, 0, 1, 0, section), file.fileno()
        )
    container.send(frames.hot(frames.OUTCOME, frames.ALL_OK, 999, 0, 1, 0, section))
    container.send(frames.control(frames.EVENT, values.encode({"op": "something new"})))
    container.event("returned", batch=999, count=1)
    world.turn()
    container.answer(container.batches[0], lambda x: x)
    world.turn()
    assert client.value(number) == 1
