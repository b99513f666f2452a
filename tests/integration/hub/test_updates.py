"""Apps that are changed while they run: what stays, what is stopped, and who may not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import description, function_spec
from volant import Cron, errors
from volant.wire.faults import encode_fault
from volantd.runtime.client import PrepareFailedError

if TYPE_CHECKING:
    from tests.integration.hub.world import Client, World


def staged(client: Client, *functions: dict[str, Any], **fields: Any) -> str:
    """Stage an app; its functions get other numbers than those of one that runs."""
    described = description(*functions, **{"base": 1 << 17, **fields})
    return str(client.request("app_open", app=described, staged=True)["app_id"])


def updated(client: Client, app_id: str, *functions: dict[str, Any], **fields: Any) -> None:
    """Have an app that runs be another."""
    client.request("app_update", app_id=app_id, staged=staged(client, *functions, **fields))


def ids_of(client: Client) -> dict[str, str]:
    rows = client.request("function_list")["functions"]
    return {row["name"]: row["function_id"] for row in rows}


def test_functions_keep_their_ids_and_come_and_go(world: World, client: Client):
    app_id = client.open(function_spec("f"), function_spec("g"))
    before = ids_of(client)
    updated(client, app_id, function_spec("f", memory=256), function_spec("h"), name="renamed")
    after = ids_of(client)
    assert sorted(after) == ["f", "h"]
    assert after["f"] == before["f"]
    [app] = client.request("app_list")["apps"]
    assert (app["app_id"], app["name"], app["state"]) == (app_id, "renamed", "ephemeral")


def test_containers_of_the_old_version_are_stopped_at_once(world: World, client: Client):
    """`recreate`; what they ran is run again by the new version, for the same caller."""
    app_id = client.open(function_spec("f"))
    number = client.call(1)
    [old] = world.live()
    assert old.batches
    updated(client, app_id, function_spec("f", env={"VERSION": "2"}))
    world.until(lambda: len(world.containers) == 2 and world.containers[1].batches)
    new = world.containers[1]
    new.answer(new.batches[0], lambda value: value + 1)
    world.turn()
    assert client.value(number) == 2
    old.exit(0)
    world.turn()


def test_a_version_that_is_the_same_disturbs_nobody(world: World, client: Client):
    app_id = client.open(function_spec("f"))
    number = client.call(1)
    updated(client, app_id, function_spec("f"))
    [container] = world.live()
    container.answer(container.batches[0], lambda value: value + 1)
    world.turn()
    assert client.value(number) == 2


def test_a_program_that_cannot_be_imported_changes_nothing(world: World, client: Client):
    """What it raised comes as it is; only the client unpickles."""
    world.serve = lambda value: value + 1
    app_id = client.open(function_spec("f"))
    before = ids_of(client)
    world.prepare_failures.append(PrepareFailedError(encode_fault(ValueError("at the top"))))
    with pytest.raises(ValueError, match="at the top"):
        updated(client, app_id, function_spec("g"))
    assert ids_of(client) == before
    assert client.value(client.call(1)) == 2


def test_schedules_are_those_of_the_new_version_and_their_counts_stay(world: World, client: Client):
    yearly = Cron("0 0 1 1 *")
    app_id = client.open(function_spec("f", schedule=yearly), function_spec("g", schedule=yearly))
    client.request("schedule_run", function="f")
    client.request("schedule_pause", function="f")
    updated(client, app_id, function_spec("f", schedule=Cron("0 0 2 1 *")), function_spec("g"))
    [row] = client.request("schedule_list")["schedules"]
    assert (row["name"], row["runs"], row["paused"]) == ("f", 1, True)
    assert row["schedule"] == "cron 0 0 2 1 * (UTC)"
    assert row["running"] is not None
    world.until(lambda: world.live() and world.live()[-1].batches)
    container = world.live()[-1]
    container.answer(container.batches[0], lambda: None)
    world.turn()
    [row] = client.request("schedule_list")["schedules"]
    assert row["running"] is None


def test_another_client_of_the_machines_user_may_update(world: World, client: Client):
    app_id = client.open(function_spec("f"))
    other = world.client()
    updated(other, app_id, function_spec("f"), function_spec("g"))
    other.close()
    world.turn()
    assert sorted(ids_of(client)) == ["f", "g"]


def test_what_was_staged_ends_with_its_client(world: World, client: Client):
    staged(client, function_spec("f"))
    client.close()
    world.turn()
    assert not world.hub.apps


@pytest.mark.parametrize("wanted", ["app_id", "staged"])
def test_what_is_not_there_is_refused(world: World, client: Client, wanted: str):
    given = {"app_id": client.open(function_spec("f")), "staged": staged(client)}
    with pytest.raises(errors.NotFoundError):
        client.request("app_update", **{**given, wanted: "ap-none"})


def test_a_staged_app_of_another_client_is_refused(world: World, client: Client):
    app_id = client.open(function_spec("f"))
    other = staged(world.client())
    with pytest.raises(errors.NotFoundError, match="staged no app"):
        client.request("app_update", app_id=app_id, staged=other)


def test_user_code_in_a_container_may_not_update(world: World, client: Client):
    app_id = client.open(function_spec("f", min_containers=1))
    world.turn()
    user = world.containers[0].user
    with pytest.raises(errors.InvalidError, match="knows no request"):
        user.request("app_update", app_id=app_id, staged=app_id)


@pytest.mark.parametrize("fields", [{}, {"app_id": 1, "staged": "x"}, {"app_id": "x"}])
def test_a_message_that_makes_no_sense_ends_the_connection(
    world: World, client: Client, fields: dict[str, Any]
):
    with pytest.raises(AssertionError, match="broken: True"):
        client.request("app_update", **fields)
