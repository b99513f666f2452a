"""The phases of inputs: every input that got its outcome has a record, whatever the outcome was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import function_spec
from volant.wire import frames
from volantd.hub import timings

if TYPE_CHECKING:
    from tests.integration.hub.world import Client, World

#: The phases in the order of an input's life.
PHASES = [name for name in timings.FIELDS if name.endswith("_ns")]


def records(client: Client, app_id: str) -> list[dict[str, Any]]:
    return client.request("app_timings", app_id=app_id)["calls"]


def check_order(record: dict[str, Any], *missing: str) -> None:
    """Every phase but those has a time, and the times follow one another."""
    assert {name for name in PHASES if not record[name]} == {f"{name}_ns" for name in missing}
    stamps = [record[name] for name in PHASES if record[name]]
    assert stamps == sorted(stamps), record


def test_a_call_that_starts_a_container_goes_through_every_phase(world: World, client: Client):
    world.serve = lambda x: x
    app_id = client.open()
    client.call(1)
    [record] = records(client, app_id)
    assert record["outcome"] == "ok"
    check_order(record)


def test_a_call_that_finds_one_has_nothing_of_its_start(world: World, client: Client):
    world.serve = lambda x: x
    app_id = client.open()
    client.call(1)
    client.call(2)
    check_order(records(client, app_id)[1], "wanted", "forked", "imported")


def test_of_inputs_that_travel_together_the_first_and_the_last_count(world: World, client: Client):
    world.serve = lambda x: x
    app_id = client.open(function_spec(max_containers=1))
    client.submit(list(range(256)))
    world.turn()
    found = records(client, app_id)
    assert {0, 255} <= {record["index"] for record in found}
    assert len(found) < 40


def test_a_spawned_call_and_a_generator_have_theirs(world: World, client: Client):
    app_id = client.open(function_spec("f"), function_spec("g", generates=True))
    world.serve = lambda x: x
    client.spawn(1)
    world.serve = None
    client.call(1, function=(1 << 16) + 1, flags=frames.STREAM)
    container = world.containers[-1]
    container.outcome(container.batches[0], [(frames.EXHAUSTED, b"")])
    world.turn()
    assert [record["outcome"] for record in records(client, app_id)] == ["ok", "ok"]


def test_an_exception_is_an_outcome_too(world: World, client: Client):
    def fail(_: object) -> None:
        raise ValueError

    world.serve = fail
    app_id = client.open()
    client.call(1)
    [record] = records(client, app_id)
    assert record["outcome"] == "raised"
    check_order(record)


def test_an_input_that_ran_too_long_was_dispatched_and_not_finished(world: World, client: Client):
    app_id = client.open(function_spec(timeout=1))
    client.call(1)
    world.until(lambda: client.results)
    [record] = records(client, app_id)
    assert record["outcome"] == "timeout"
    check_order(record, "wanted", "forked", "imported", "first_line", "finished")


def test_an_input_whose_containers_die_is_lost(world: World, client: Client):
    app_id = client.open()
    number = client.submit([1])
    while number not in client.results:
        world.until(lambda: number in client.results or world.live())
        for container in world.live():
            world.turn()
            container.kill()
    [record] = records(client, app_id)
    assert record["outcome"] == "lost"


def test_an_input_whose_container_cannot_start_never_left_the_queue(world: World, client: Client):
    from volantd.runtime.zygotes import RuntimeFailedError

    app_id = client.open()
    world.fork_failures = [RuntimeFailedError("no") for _ in range(20)]
    client.call(1)
    world.until(lambda: client.results)
    [record] = records(client, app_id)
    assert record["outcome"] == "start_failed"
    check_order(record, "wanted", "forked", "imported", "dispatched", "first_line", "finished")


@pytest.mark.parametrize("count", [1, 3])
def test_a_cancelled_call_has_one_as_well(world: World, client: Client, count: int):
    app_id = client.open(function_spec(max_containers=1))
    number = client.submit(list(range(count)))
    world.turn()
    client.event("cancel", call=number)
    world.turn()
    found = records(client, app_id)
    assert {record["outcome"] for record in found} == {"cancelled"}
    assert {record["index"] for record in found} == {0, count - 1}


def test_no_more_records_are_kept_than_their_limit() -> None:
    kept = timings.Timings()

    class Call:
        call_id, accepted_ns, sent_ns = "c", 1, 2

    for index in range(timings.RECORDS_MAX + 5):
        kept.note_failed(Call(), index, 1, "lost")  # type: ignore[arg-type]  # as much as it reads
    assert len(kept.rows()) == timings.RECORDS_MAX
    assert kept.rows()[0]["index"] == 5
