"""Schedules of apps that run: the wall clock is the test's, containers are played."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import description, function_spec
from tests.integration.hub.world import World
from volant import Cron, Period, errors
from volant.wire import frames
from volant.wire.faults import encode_fault
from volantd.hub.checks import SCHEDULES_MAX
from volantd.hub.schedules.timetable import Timetable

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.hub.world import Client

HOUR, DAY = 3600.0, 86400.0
START = 20_000 * DAY


class Wall:
    """A clock on the wall that the test sets."""

    def __init__(self, world: World) -> None:
        self.now = START
        self.world = world
        world.hub.timetable = Timetable(world.hub, lambda: self.now)
        world.hub.timetable.durable = world.services.standings

    def open(self) -> None:
        """Serve what was deployed before."""
        services = self.world.services
        services.deployments.opened = self.world.loop.create_future()
        services.deployments.keeping.read = self.world.loop.create_future()
        self.world.loop.run_until_complete(services.deployments.open())
        self.world.turn()

    def set(self, now: float) -> None:
        """Show another time, and have the timer notice it."""
        self.now = now
        self.world.loop.call_soon(self.world.hub.timetable.look)
        self.world.turn()


@pytest.fixture
def wall(world: World) -> Wall:
    return Wall(world)


def scheduled(name: str = "f", schedule: object = None, **given: Any) -> dict[str, Any]:
    return function_spec(name, schedule=schedule or Cron("0 * * * *"), **given)


def row(client: Client, name: str = "f") -> dict[str, Any]:
    rows = client.request("schedule_list")["schedules"]
    [found] = [one for one in rows if one["name"] == name]
    return dict(found)


def log_of(world: World, app_id: str) -> str:
    entries = world.services.logs.read(app_id, tail=None)
    assert {entry["stream"] for entry in entries} <= {"system"}
    return b"".join(entry["data"] for entry in entries).decode()


def test_a_function_is_called_when_it_is_due(world: World, client: Client, wall: Wall):
    app_id = client.open(scheduled())
    wall.set(START + HOUR - 1)
    assert not world.containers
    wall.set(START + HOUR)
    [container] = world.containers
    [batch] = container.batches
    assert batch.items[0][0] == frames.PICKLE
    assert row(client)["running"] == f"fc-{batch.call_id}"
    container.outcome(batch, [(frames.PICKLE, b"N.")])
    world.turn()
    shown = row(client)
    assert (shown["runs"], shown["failures"], shown["running"]) == (1, 0, None)
    assert (shown["last_ok"], shown["next_due"]) == (True, START + 2 * HOUR)
    assert not log_of(world, app_id)


def test_its_result_is_kept_like_that_of_a_spawned_call(world: World, client: Client, wall: Wall):
    client.open(scheduled())
    wall.set(START + HOUR)
    [container] = world.containers
    call_id = row(client)["running"]
    container.outcome(container.batches[0], [(frames.PICKLE, b"K\x2a.")])
    world.turn()
    assert client.value(client.get(call_id)) == 42


def test_a_run_that_fails_is_counted_and_told_in_the_log(world: World, client: Client, wall: Wall):
    app_id = client.open(scheduled())
    wall.set(START + HOUR)
    [container] = world.containers
    fault = encode_fault(ValueError("out of cheese"))
    container.outcome(container.batches[0], [(frames.FAULT, fault)])
    world.turn()
    assert (row(client)["failures"], row(client)["last_ok"]) == (1, False)
    assert "schedule of `f`: run fc-" in log_of(world, app_id)
    assert "ValueError: out of cheese" in log_of(world, app_id)


@pytest.mark.parametrize("fault", [b"", b"\xff\xff", b"\x80"])
def test_a_fault_that_makes_no_sense_is_told_as_that(
    world: World, client: Client, wall: Wall, fault: bytes
):
    app_id = client.open(scheduled())
    wall.set(START + HOUR)
    [container] = world.containers
    container.outcome(container.batches[0], [(frames.FAULT, fault)])
    world.turn()
    assert row(client)["failures"] == 1
    assert "could not be read" in log_of(world, app_id)


def test_a_container_that_dies_is_told_too(world: World, client: Client, wall: Wall):
    app_id = client.open(scheduled())
    wall.set(START + HOUR)
    for _ in range(30):
        for container in world.live():
            container.exit(1)
        world.until(lambda: world.live() or row(client)["failures"])
        if row(client)["failures"]:
            break
    assert "InternalFailure: the container of `f` died" in log_of(world, app_id)


def test_what_is_due_while_the_last_run_runs_is_skipped(world: World, client: Client, wall: Wall):
    app_id = client.open(scheduled())
    wall.set(START + HOUR)
    wall.set(START + 2 * HOUR)
    [container] = world.containers
    [batch] = container.batches
    assert (row(client)["runs"], row(client)["skipped"]) == (1, 1)
    assert "skipped: it was due at 2024-10-04 02:00:00 UTC" in log_of(world, app_id)
    container.outcome(batch, [(frames.PICKLE, b"N.")])
    world.turn()
    wall.set(START + 3 * HOUR)
    assert row(client)["runs"] == 2


def test_a_machine_that_slept_runs_once_for_all_that_was_due(
    world: World, client: Client, wall: Wall
):
    app_id = client.open(scheduled())
    wall.set(START + 7.5 * HOUR)
    assert len(world.containers[0].batches) == 1
    assert (row(client)["runs"], row(client)["missed"]) == (1, 6)
    assert "missed 6 of the times it was due, and is run once" in log_of(world, app_id)


def test_what_was_due_long_ago_is_not_run(world: World, client: Client, wall: Wall):
    app_id = client.open(scheduled(schedule=Cron("0 12 4 10 *")))
    wall.set(START + 3 * DAY)
    assert not world.containers
    assert (row(client)["runs"], row(client)["missed"]) == (0, 1)
    assert "too long ago to be made up for" in log_of(world, app_id)


def test_a_paused_schedule_rests_until_it_is_resumed(world: World, client: Client, wall: Wall):
    client.open(scheduled())
    paused = client.request("schedule_pause", function="f")
    assert (paused["paused"], paused["next_due"]) == (True, None)
    assert client.request("schedule_pause", function="app.f")["paused"]
    wall.set(START + 5.5 * HOUR)
    assert not world.containers
    resumed = client.request("schedule_resume", function=paused["function_id"])
    assert (resumed["paused"], resumed["next_due"]) == (False, START + 6 * HOUR)
    assert not world.containers
    wall.set(START + 6 * HOUR)
    assert row(client)["runs"] == 1


def test_a_schedule_can_be_run_by_hand_but_not_twice_at_once(
    world: World, client: Client, wall: Wall
):
    client.open(scheduled())
    client.request("schedule_pause", function="f")
    ran = client.request("schedule_run", function="f")
    [container] = world.containers
    assert ran["call_id"] == f"fc-{container.batches[0].call_id}"
    assert (ran["runs"], ran["running"]) == (1, ran["call_id"])
    with pytest.raises(errors.InvalidError, match="still runs as fc-"):
        client.request("schedule_run", function="f")


def test_schedules_end_with_their_app(world: World, client: Client, wall: Wall):
    app_id = client.open(scheduled(), function_spec("g"))
    wall.set(START + HOUR)
    client.request("app_close", app_id=app_id, reason="finished")
    wall.set(START + 2 * HOUR)
    assert client.request("schedule_list") == {"id": client.number, "schedules": []}
    assert not world.live()
    assert not log_of(world, app_id)


def test_a_run_that_was_cut_short_is_no_call_of_the_program(
    world: World, client: Client, wall: Wall
):
    app_id = client.open(scheduled())
    wall.set(START + HOUR)
    assert client.request("app_close", app_id=app_id, reason="finished")["unfinished"] == 0


@pytest.mark.parametrize(
    ("wanted", "told", "hint"),
    [
        ("h", "there is no schedule 'h'", ""),
        ("reporrt", "there is no schedule", "did you mean report"),
        ("plain", "function 'plain' has no schedule", "schedule="),
    ],
)
def test_an_unknown_name_says_what_there_is(
    client: Client, wall: Wall, wanted: str, told: str, hint: str
):
    client.open(scheduled("report"), function_spec("plain"))
    with pytest.raises(errors.NotFoundError, match=told) as caught:
        client.request("schedule_pause", function=wanted)
    assert hint in (caught.value.hint or "")


def test_a_name_that_means_two_asks_for_the_id(world: World, client: Client, wall: Wall):
    client.open(scheduled())
    world.client().open(scheduled())
    with pytest.raises(errors.InvalidError, match="2 schedules") as caught:
        client.request("schedule_run", function="f")
    assert row_ids(client) <= set((caught.value.hint or "").replace(",", "").split())


def row_ids(client: Client) -> set[str]:
    return {one["function_id"] for one in client.request("schedule_list")["schedules"]}


@pytest.mark.parametrize("op", ["schedule_list", "schedule_pause", "schedule_run"])
def test_user_code_in_a_container_knows_no_schedules(
    world: World, client: Client, wall: Wall, op: str
):
    client.open(scheduled(min_containers=1))
    world.turn()
    with pytest.raises(errors.InvalidError, match="knows no request"):
        world.containers[0].user.request(op, function="f")


@pytest.mark.parametrize(
    "changed",
    [
        {"schedule": {"kind": "cron", "expression": "61 * * * *", "timezone": "UTC"}},
        {"schedule": {"kind": "cron"}},
        {"schedule": "hourly"},
        {"schedule": {"kind": 1}},
    ],
)
def test_a_hostile_schedule_ends_the_connection(
    world: World, client: Client, wall: Wall, changed: dict[str, Any]
):
    spec = function_spec()
    spec["options"].update(changed)
    with pytest.raises(AssertionError, match="broken: True"):
        client.open(spec)


def test_a_schedule_of_what_yields_ends_the_connection(client: Client, wall: Wall):
    with pytest.raises(AssertionError, match="broken: True"):
        client.open(scheduled(generates=True))


def test_an_app_has_no_more_schedules_than_it_may(client: Client, wall: Wall):
    functions = [scheduled(f"f{n}", Period(days=1)) for n in range(SCHEDULES_MAX + 1)]
    with pytest.raises(errors.ResourceExhaustedError, match="schedules in one app"):
        client.open(*functions)
    assert client.request("app_list")["apps"] == []


def deployed(client: Client, **given: Any) -> str:
    """Deploy an app of one function that has a schedule; its id."""
    app = description(scheduled(schedule=Period(hours=4), **given), name="shop", base=1 << 17)
    staged = client.request("app_open", app=app, staged=True)["app_id"]
    fields = {"app_id": staged, "name": "shop", "strategy": "rolling", "deployed_by": "me"}
    return str(answered(client, "app_deploy", **fields)["app_id"])


def opened(home: Path) -> tuple[World, Wall]:
    """A hub with a home of its own, whose containers return nothing at once; and its clock."""
    world = World(home)
    world.opens, world.serve = False, lambda _: None
    return world, Wall(world)


def answered(client: Client, op: str, **fields: object) -> dict[str, Any]:
    """The reply to a request for which the database is asked, on a thread of its own."""
    number = client.ask(op, **fields)
    client.world.until(lambda: number in client.replies)
    return client.reply(number)


def test_schedules_of_deployed_apps_outlive_the_daemon(tmp_path: Path):
    """What was dealt with, counts and a pause are there again, and what was missed is made up."""
    first, wall = opened(tmp_path)
    wall.open()
    client = first.client()
    app_id = deployed(client)
    start = row(client)["next_due"] - 4 * HOUR
    wall.set(start + 4 * HOUR)
    assert row(client)["runs"] == 1
    first.close()
    first.services.database.close()

    second, wall = opened(tmp_path)
    wall.now = start + 13 * HOUR
    wall.open()
    client = second.client()
    found = row(client)
    assert (found["app_id"], found["runs"], found["missed"]) == (app_id, 2, 1)
    assert found["next_due"] == start + 16 * HOUR
    answered(client, "app_stop", app=app_id)
    assert second.services.standings.load(f"{app_id}/f") is None
    second.close()
    second.services.database.close()


def test_the_timer_comes_by_itself(world: World, client: Client):
    """The one test here in which the clock is the machine's."""
    world.serve = lambda: None
    client.open(scheduled(schedule=Period(seconds=1)))
    world.until(lambda: row(client)["runs"] >= 1)
