"""What programs are told of functions and apps, and `volant.experimental` about them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

import volant
from tests.behaviours.apps import known
from tests.support import eventually, run_volant
from volant import experimental
from volant.errors import ExecutionError, InvalidError, NotFoundError
from volant.sdk.inputs.retiring import simulate_preemption
from volant.types import AppState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WITHIN_S = 30.0


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    volant.Secret.objects.create("known-secret", {"TOKEN": "t"}, allow_existing=True)
    with known.app.run():
        yield


def test_a_function_tells_what_it_was_described_with() -> None:
    info = known.described.info()
    assert (info.name, info.object_id) == ("described", known.described.object_id)
    assert (info.cpu, info.memory_mib) == ((0.5, 1.0), (256, None))
    assert (info.timeout, info.max_retries, info.single_use_containers) == (60, 2, True)
    assert info.secrets == ["known-secret"]
    assert list(info.volumes) == ["/kept"]
    mounted = info.volumes["/kept"]
    assert (mounted.volume_id, mounted.read_only) == (known.kept.hydrate().object_id, True)
    assert info.concurrency_info is info.batching_info is info.web_info is info.schedule is None
    assert "HIDDEN" not in repr(info)
    assert "value" not in repr(info)


def test_a_function_tells_how_many_inputs_it_takes() -> None:
    info = asyncio.run(known.shared.info.aio()).concurrency_info
    assert info is not None
    assert (info.max_inputs, info.target_inputs) == (7, 3)
    assert (known.shared.remote(), known.alone.remote()) == (7, 1)


def test_functions_and_methods_tell_how_they_answer_to_the_web() -> None:
    web = known.page.info().web_info
    assert web is not None
    assert (web.web_url, web.unauthenticated) == (known.page.get_web_url(), False)
    info = known.Model._function.info()  # type: ignore[attr-defined]  # it is a Cls
    assert info.method_names == ["ask", "answer"]
    [answer] = [one for one in info.method_details.values() if one is not None]
    assert (answer.method, answer.unauthenticated) == ("POST", True)


def test_a_server_tells_what_it_was_described_with() -> None:
    info = known.Door.info()  # type: ignore[attr-defined]  # it is a Server
    assert (info.port, info.unauthenticated, info.sessioned) == (9000, True, False)
    assert info.server_url == info.url


def test_an_app_that_only_runs_is_told_of() -> None:
    info = known.app.info()
    assert (info.app_id, info.description) == (known.app.app_id, "known")
    assert (info.lifecycle.state, info.lifecycle.version) == (AppState.EPHEMERAL, 0)
    assert set(info.servers) == {"Door"}
    assert {"described", "Model"} <= set(info.functions)
    assert experimental.get_app_lifecycle(str(known.app.app_id)) == info.lifecycle
    assert known.app.get_dashboard_url() == f"volant:{info.app_id}"


def test_a_container_is_told_of_its_own_app() -> None:
    assert known.who.remote() == ("known", "who")


def test_what_is_deployed_is_listed_found_and_stopped() -> None:
    volant.App("known-empty").deploy()
    known.app.include(volant.App("nothing"))
    names = [one.name for one in experimental.list_deployed_apps()]
    assert "known-empty" in names
    assert "known" not in names
    experimental.stop_app("known-empty")
    assert "known-empty" not in [one.name for one in experimental.list_deployed_apps()]
    with pytest.raises(NotFoundError):
        experimental.get_app_objects("known-empty")


def test_a_container_may_be_one_that_can_ask_nothing() -> None:
    """Of `restrict_modal_access=True`: it is called as others are."""
    assert known.restricted.remote() == ["PermissionDeniedError"] * 7
    assert known.restricted.info().restrict_modal_access
    assert not known.alone.info().restrict_modal_access


def test_a_container_that_asks_for_it_is_preempted() -> None:
    """Its code is interrupted, and what it ran begins anew in another container."""
    with volant.Dict.ephemeral() as seen:
        second = known.leave.remote(seen)
        assert seen["first"] != second
        assert seen["told"]


def test_elsewhere_nobody_is_preempted() -> None:
    with pytest.raises(ExecutionError, match=r"simulate_preemption\(\) only means"):
        simulate_preemption(1)
    with pytest.raises(InvalidError, match="seconds are a number from 0 on, got -1"):
        simulate_preemption(-1)
    with pytest.raises(ExecutionError, match=r"get_local_input_concurrency\(\) only means"):
        experimental.get_local_input_concurrency()


def test_an_image_that_is_not_there_is_not_deleted() -> None:
    with pytest.raises(NotFoundError):
        experimental.image_delete("im-0000000000000000000000")
    with pytest.raises(InvalidError, match="begin with `im-`"):
        experimental.image_delete("image")


def _told(*words: str, home: Path) -> Any:
    run = run_volant(*words, "--json", home=home)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_the_command_shows_what_a_function_is(volant_home: Path) -> None:
    shown = _told("function", "info", "known.described", home=volant_home)
    assert (shown["name"], shown["timeout"], shown["secrets"]) == (
        "described",
        60,
        ["known-secret"],
    )
    words = run_volant("function", "info", "known.shared", home=volant_home).stdout
    assert "max_inputs 7, target_inputs 3" in words
    assert "None" not in words


def test_the_command_shows_what_a_function_printed_and_ran(volant_home: Path) -> None:
    call = known.say.spawn("once")
    call.get(timeout=WITHIN_S)
    variant = known.say.with_options(timeout=30)
    variant.remote("again")

    def printed() -> bool:
        run = run_volant("function", "logs", "known.say", home=volant_home)
        return run.stdout.split() == ["once", "again"]

    eventually(printed, within_s=WITHIN_S)
    found = run_volant(
        "function", "logs", "known.say", "--function-call", call.object_id, home=volant_home
    )
    assert found.stdout == "once\n"
    rows = _told("function", "variants", "known.say", home=volant_home)
    assert [row["variant"] for row in rows] == [False, True]
    eventually(
        lambda: (
            [one["call_id"] for one in _told("function", "calls", "known.say", home=volant_home)]
            == [call.object_id]
        ),
        within_s=WITHIN_S,
    )
    assert _told("function", "calls", "known.say", "--until", "1h", home=volant_home) == []


def test_the_command_shows_what_a_server_is(volant_home: Path) -> None:
    shown = _told("server", "info", "known.Door", home=volant_home)
    assert (shown["port"], shown["unauthenticated"]) == (9000, True)
    assert _told("server", "stats", "known.Door", home=volant_home)["requests"] == {}
    assert run_volant("server", "logs", "known.Door", home=volant_home).stdout == ""
    changed = _told(
        "server", "autoscaler", "update", "known.Door", "--scaleup-window", "3",
        "--target-concurrency", "2.5", home=volant_home,
    )  # fmt: skip
    assert changed == _told("server", "autoscaler", "settings", "known.Door", home=volant_home)
    assert (changed["scaleup_window"], changed["target_concurrency"]) == (3, 2)


def test_the_command_tells_servers_from_functions_and_from_the_daemon(volant_home: Path) -> None:
    run = run_volant("server", "info", "known.say", home=volant_home)
    assert (run.returncode, run.stderr.splitlines()[0]) == (2, "error: `known.say` is no server")
    run = run_volant("server", "logs", "--since", "1h", home=volant_home)
    assert run.stderr.startswith("error: the daemon's own log is shown as it is\n")
    run = run_volant("server", "autoscaler", "update", "known.Door", home=volant_home)
    assert run.stderr.startswith("error: there is nothing to change")
