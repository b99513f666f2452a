"""The autoscaler of one pool as clients and containers see it: settings, changes, how it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import function_spec
from volant import errors
from volant.wire.frames import EXPRESS_TOKEN_BYTES
from volantd.hub.pools import autoscaler, variants

if TYPE_CHECKING:
    from tests.integration.hub.world import Client, World

FIRST = 1 << 16
MIB = 1 << 20


def settings(reply: dict[str, Any]) -> tuple[Any, ...]:
    own = ("target_inputs", "scaleup_window_s")
    names = (name for name in autoscaler.SETTINGS if name not in own)
    return tuple(reply[name] for name in names)


def with_variant(client: Client, number: int, **options: Any) -> int:
    """The number of a pool beside that of the client's first function."""
    client.event("variant", base=FIRST, number=number, options=options, parameters=b"",
                 express=b"x" * EXPRESS_TOKEN_BYTES)  # fmt: skip
    return number


def test_a_minimum_starts_containers_and_a_maximum_ends_them(world: World, client: Client):
    client.open(function_spec(max_containers=5))
    client.request("function_update", number=FIRST, min_containers=3)
    world.turn()
    assert len(world.live()) == 3
    reply = client.request("function_update", number=FIRST, min_containers=1, max_containers=1)
    assert settings(reply) == (1, 1, 0, 60.0)
    world.turn()
    assert client.request("function_stats", number=FIRST)["num_total_runners"] == 1


def test_what_is_not_named_stays_and_the_description_does_too(world: World, client: Client):
    client.open(function_spec(max_containers=5, buffer_containers=1))
    client.request("function_update", number=FIRST, scaledown_window_s=7)
    reply = client.request("function_update", number=FIRST, max_containers=None)
    assert settings(reply) == (0, None, 1, 7)
    [function] = world.hub.functions.values()
    assert function.options["scaledown_window_s"] == 60
    config = world.hub.scheduler.state.pools[function.function_id].config
    assert (config.scaledown_window_s, config.buffer_containers) == (7, 1)


def test_pools_of_other_options_have_autoscalers_of_their_own(world: World, client: Client):
    """A pool made later is made of what was described, not of what was changed."""
    client.open(function_spec(max_containers=5))
    number = with_variant(client, 7, env={"A": "1"})
    client.request("function_update", number=number, max_containers=2)
    client.request("function_update", number=FIRST, max_containers=3)
    assert settings(client.request("function_settings", number=number))[1] == 2
    assert settings(client.request("function_settings", number=FIRST))[1] == 3
    later = with_variant(client, 8, env={"A": "2"})
    assert settings(client.request("function_settings", number=later))[1] == 5
    ids = [row["function_id"] for row in client.request("function_list")["functions"]]
    assert len(set(ids)) == 3
    assert settings(client.request("function_settings", function=ids[1]))[1] == 2


def test_a_minimum_above_the_maximum_is_refused_and_changes_nothing(world: World, client: Client):
    client.open(function_spec(max_containers=2))
    with pytest.raises(errors.InvalidError, match=r"min_containers \(3\) is above"):
        client.request("function_update", number=FIRST, min_containers=3, buffer_containers=1)
    assert settings(client.request("function_settings", number=FIRST)) == (0, 2, 0, 60.0)


def test_the_numbers_say_what_waits_and_what_runs(world: World, client: Client):
    client.open(function_spec(max_containers=2))
    world.turn()
    for _ in range(5):
        client.call(1)
    reply = client.request("function_stats", number=FIRST)
    assert reply["function_id"] in world.hub.functions
    assert (reply["backlog"], reply["num_running_inputs"]) == (3, 2)
    assert (reply["num_total_runners"], reply["input_headroom"]) == (2, 0)
    assert reply["waits_for"] == ""


def test_whoever_waits_for_the_machine_says_for_what(world: World, client: Client):
    """Memory first; what is free changes, and the client that shows the app hears of it."""
    hub = world.hub
    hub.apply(hub.scheduler.set_capacity(1000 * MIB, 100, 0.0), 0.0)
    client.open(function_spec("small", memory=300), function_spec("large", memory=800), output=True)
    for function in (FIRST, FIRST, FIRST + 1):
        client.call(1, function=function)
    text = "waiting for memory: needs 800 MiB, 400 MiB free of 1000"
    assert client.request("function_stats", function="large")["waits_for"] == text
    world.until(lambda: _told(client, "large") == text)
    world.containers[0].exit(1)
    world.until(lambda: "700 MiB free" in _told(client, "large"))


def test_whoever_waits_for_a_container_to_end_says_so(world: World, client: Client):
    hub = world.hub
    hub.apply(hub.scheduler.set_capacity(1 << 40, 1, 0.0), 0.0)
    client.open(function_spec("first"), function_spec("second"))
    client.call(1)
    client.call(1, function=FIRST + 1)
    reply = client.request("function_stats", number=FIRST + 1)
    assert reply["waits_for"] == "waiting for a container to end: 1 run, 1 are the most"


def _told(client: Client, name: str) -> str:
    texts = [one["text"] for one in client.events if one.get("function") == name]
    return str(texts[-1]) if texts else ""


# -- names


def test_a_function_is_found_by_id_name_and_app(world: World, client: Client):
    client.open(function_spec("square"), name="shapes")
    [function] = world.hub.functions.values()
    for name in (function.function_id, "square", "shapes.square"):
        reply = client.request("function_settings", function=name)
        assert reply["function_id"] == function.function_id


def test_a_name_that_means_nothing_or_much_is_refused_with_what_is_meant(
    world: World, client: Client
):
    client.open(function_spec("square"), name="shapes")
    with pytest.raises(errors.NotFoundError, match="no function 'squares'") as caught:
        client.request("function_stats", function="squares")
    assert "square" in str(caught.value.hint)
    client.open(function_spec("square"), name="others", base=1 << 20)
    with pytest.raises(errors.InvalidError, match="2 functions are called 'square'"):
        client.request("function_stats", function="square")


def test_the_function_of_an_app_that_ended_is_refused(world: World, client: Client):
    app_id = client.open()
    client.request("app_close", app_id=app_id, reason="x")
    with pytest.raises(errors.ExecutionError, match="does not run any more"):
        client.request("function_update", number=FIRST, min_containers=1)
    assert client.request("function_list")["functions"] == []


def test_a_pool_that_cannot_be_has_no_autoscaler(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(variants, "VARIANTS_MAX", 0)
    client.open()
    number = with_variant(client, 7, env={"A": "1"})
    with pytest.raises(errors.ResourceExhaustedError, match="there is no room for more"):
        client.request("function_settings", number=number)


# -- user code in a container


@pytest.fixture
def user(world: World, client: Client) -> Client:
    client.open(function_spec("outer"), function_spec("other"))
    client.call(1)
    found: Client = world.containers[-1].user
    found.hello()
    return found


def test_user_code_scales_the_functions_of_its_app(world: World, user: Client):
    assert user.request("function_update", number=1, min_containers=2)["min_containers"] == 2
    world.turn()
    assert user.request("function_stats", number=1)["num_total_runners"] == 2


def test_user_code_knows_no_functions_by_name_and_no_list(world: World, user: Client):
    with pytest.raises(errors.PermissionDeniedError, match="only knows the functions"):
        user.request("function_settings", function="other")
    with pytest.raises(errors.InvalidError, match="knows no request"):
        user.request("function_list")


def test_user_code_cannot_have_the_machine_filled(world: World, user: Client):
    for name in ("min_containers", "buffer_containers"):
        with pytest.raises(errors.ResourceExhaustedError, match="may have it keep 100"):
            user.request("function_update", number=1, **{name: autoscaler.KEPT_MAX + 1})
    user.request("function_update", number=1, buffer_containers=autoscaler.KEPT_MAX)
    with pytest.raises(errors.ResourceExhaustedError, match="would keep 101"):
        user.request("function_update", number=0, buffer_containers=1)


def test_user_code_is_not_told_how_large_the_machine_is(world: World, user: Client):
    hub = world.hub
    hub.apply(hub.scheduler.set_capacity(128 * MIB, 100, 0.0), 0.0)
    user.request("function_update", number=1, min_containers=1)
    reply = user.request("function_stats", number=1)
    assert reply["waits_for"] == "waiting for room on the machine"
