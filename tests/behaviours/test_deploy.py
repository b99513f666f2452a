"""Deployed apps: versions that follow each other, looked up and called from anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

import volant
from tests.behaviours.programs import APPS, ask, at_home, run_program
from tests.support import daemon_pid, eventually, free_port, run_volant
from volant.channel import current
from volant.errors import (
    ExecutionError,
    InvalidError,
    NotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from subprocess import CompletedProcess

    from tests.behaviours.image_builds import Gate
    from tests.behaviours.programs import Program

    Deploy = Callable[..., dict[str, Any]]

SHOP = str(APPS / "shop.py")
#: Deploys a version whose import waits.
GATED = """
import os; os.environ["SHOP_VERSION"] = "gate {port}"
import sys; sys.path.insert(0, ".")
import shop
shop.app.deploy()
print(shop.version.remote(), flush=True)
"""


@pytest.fixture
def deploy(volant_home: Path) -> Iterator[Deploy]:
    """Deploys a version of the shop; what was deployed ends with the test."""

    def deploy_version(version: str = "one", *words: str) -> dict[str, Any]:
        run = _deploy(volant_home, version, *words)
        assert run.returncode == 0, run.stderr
        told: dict[str, Any] = json.loads(run.stdout)
        return told

    yield deploy_version
    for app in current.channel().request("app_list")["apps"]:
        if app["state"] == "deployed":
            current.channel().request("app_stop", app=app["app_id"])


def _deploy(home: Path, version: str, *words: str) -> CompletedProcess[str]:
    return run_volant("deploy", SHOP, "--json", *words, home=home, env={"SHOP_VERSION": version})


def _version(**options: Any) -> Any:
    return volant.Function.from_name("shop", "version", **options)


def test_a_deployed_function_is_called_by_its_name_from_any_program(deploy: Deploy) -> None:
    told = deploy()
    assert (told["name"], told["version"], told["changed"]) == ("shop", 1, True)
    function = _version()
    assert function.object_id is None
    assert function.remote() == "one"
    assert function.object_id == told["functions"]["version"]
    assert list(function.map(["", ""])) == ["one", "one"]
    assert function.spawn().get(timeout=30) == "one"
    assert function.with_options(timeout=20).remote() == "one"
    assert list(volant.Function.from_name("shop", "count").remote_gen(3)) == [0, 1, 2]
    by_id: Any = volant.Function.from_id(told["functions"]["version"])
    assert by_id.remote() == "one"


def test_a_spawned_map_goes_on_without_the_program_that_spawned_it(
    deploy: Deploy, volant_home: Path, gate: Gate
) -> None:
    """Behaviour 29: in a deployed app, whose functions outlive every program."""
    deploy()
    program = (
        "import sys, volant\n"
        "found = volant.Function.from_name('shop', 'version')\n"
        "print(found.spawn_map([int(sys.argv[1])] * 2))\n"
    )
    assert run_program("-c", program, gate.port, home=volant_home).stdout == "None\n"
    for _ in range(2):
        gate.wait().close()


def test_a_container_looks_functions_up_as_well(deploy: Deploy) -> None:
    """Behaviour 135."""
    deploy()
    assert volant.Function.from_name("shop", "ask_shop").remote("version") == "one"


def test_a_deployed_class_takes_its_parameters(deploy: Deploy) -> None:
    deploy()
    shop: Any = volant.Cls.from_name("shop", "Model")
    assert shop().describe.remote() == "one 1 RED 1 0"
    assert shop(size=2, colour="GREEN").describe.remote() == "one 2 GREEN 1 0"
    assert shop(point={"x": 3, "y": 4}).describe.remote() == "one 1 RED 3 4"
    assert shop.with_options(timeout=20)(size=5).describe.remote() == "one 5 RED 1 0"
    with pytest.raises(InvalidError, match="has no parameter `length`"):
        shop(length=2)
    with pytest.raises(InvalidError, match="must be one of RED, GREEN, got 'BLUE'"):
        shop(colour="BLUE")


def test_a_looked_up_class_knows_its_methods_only(deploy: Deploy) -> None:
    """Behaviour 62."""
    deploy()
    shop: Any = volant.Cls.from_name("shop", "Model")
    with pytest.raises(NotFoundError, match="has no method `describes`"):
        shop().describes.remote()
    with pytest.raises(NotFoundError, match="has no method `size`"):
        _ = shop().size
    with pytest.raises(ExecutionError, match="cannot run locally"):
        shop().describe.local()
    with pytest.raises(InvalidError, match=r"Function\.from_name cannot look up"):
        volant.Function.from_name("shop", "Model.describe")
    with pytest.raises(NotFoundError, match="has no such function"):
        volant.Function.from_name("shop", "Model").remote()


def test_a_failed_lookup_says_what_was_looked_for(deploy: Deploy) -> None:
    """Behaviours 75 and 77."""
    with pytest.raises(NotFoundError, match="Lookup failed for Function 'f' from the 'nope' app"):
        volant.Function.from_name("nope", "f").remote()
    with pytest.raises(NotFoundError, match="there is no app 'nope'"):
        volant.App.lookup("nope")
    deploy()
    with pytest.raises(NotFoundError, match="Lookup failed for Function 'f' from the 'shop' app"):
        volant.Function.from_name("shop", "f").remote()
    with pytest.raises(NotFoundError, match="no version 7"):
        _version(version=7).remote()


def test_an_app_is_looked_up_and_made_by_awaiting(volant_home: Path) -> None:
    """Behaviour 75."""

    async def look() -> str | None:
        with pytest.raises(NotFoundError, match="there is no app 'awaited'"):
            await volant.App.lookup.aio("awaited")
        made = await volant.App.lookup.aio("awaited", create_if_missing=True)
        found = await volant.App.lookup.aio("awaited")
        assert made.app_id == found.app_id
        await found.stop.aio()
        return made.name

    assert asyncio.run(look()) == "awaited"


def test_redeploying_keeps_ids_and_handles(deploy: Deploy) -> None:
    """Behaviours 67 and 76: whoever has a handle calls the version that is served."""
    first = deploy()
    function = _version()
    describe = volant.Cls.from_name("shop", "Model")(size=3).describe
    assert (function.remote(), describe.remote()) == ("one", "one 3 RED 1 0")
    second = deploy("two")
    assert (second["app_id"], second["version"]) == (first["app_id"], 2)
    assert second["functions"]["version"] == first["functions"]["version"]
    assert function.remote() == "two"
    assert describe.remote() == "two 3 RED 1 0"  # although it is the second method now
    assert _version(version=1).remote() == "one"
    with pytest.raises(NotFoundError, match="has no method `last`"):
        volant.Cls.from_name("shop", "Model")().last.remote()


def test_what_a_new_version_lacks_is_not_called_any_more(deploy: Deploy) -> None:
    """Behaviour 67."""
    deploy()
    gone = volant.Function.from_name("shop", "only_before")
    last = volant.Cls.from_name("shop", "Model")().last
    assert (gone.remote(), last.remote()) == ("before", "last")
    deploy("without")
    with pytest.raises(NotFoundError, match="`only_before` since version 2"):
        gone.remote()
    with pytest.raises(NotFoundError):
        last.remote()


def test_deploying_the_same_again_changes_nothing(deploy: Deploy) -> None:
    deploy()
    again = deploy()
    assert (again["version"], again["changed"]) == (1, False)
    assert deploy("one", "--tag", "v1")["version"] == 2


@pytest.mark.parametrize("version", ["broken", "broken there"])
def test_a_version_that_cannot_be_imported_changes_nothing(
    version: str, deploy: Deploy, volant_home: Path
) -> None:
    deploy()
    run = _deploy(volant_home, version)
    assert run.returncode == 1
    assert "this version cannot be imported" in run.stderr
    assert _version().remote() == "one"
    assert [one["version"] for one in _history()] == [1]


def _history() -> list[dict[str, Any]]:
    versions: list[dict[str, Any]] = current.channel().request("app_history", app="shop")[
        "versions"
    ]
    return versions


def test_what_runs_finishes_in_the_version_it_began_in(deploy: Deploy, gate: Gate) -> None:
    deploy()
    call = _version().spawn(gate.port)
    with gate.wait():
        deploy("two")
        assert _version().remote() == "two"
    assert call.get(timeout=30) == "one"


def test_recreate_runs_it_again_in_the_new_version(deploy: Deploy, gate: Gate) -> None:
    deploy()
    call = _version().spawn(gate.port)
    with gate.wait():
        deploy("two", "--strategy", "recreate")
        gate.wait().close()
        assert call.get(timeout=30) == "two"


def test_other_ways_of_sharing_inputs_have_a_pool_of_their_own(deploy: Deploy) -> None:
    deploy()
    describe = volant.Cls.from_name("shop", "Model")().describe
    assert describe.remote() == "one 1 RED 1 0"
    deploy("shared")
    assert describe.remote() == "shared 1 RED 1 0"


def test_no_call_fails_while_versions_follow_each_other(deploy: Deploy) -> None:
    deploy()
    seen: list[str] = []
    failed: list[BaseException] = []
    goes_on = True

    def call() -> None:
        function = _version()
        while goes_on:
            try:
                seen.append(function.remote())
            except BaseException as error:  # noqa: BLE001  # all of them are reported below
                failed.append(error)
                return

    threads = [Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        deploy("two")
        current.channel().request(
            "app_roll", app="shop", action="rollback", version=None, strategy="rolling",
            deployed_by="tests",
        )  # fmt: skip
        deploy("two", "--strategy", "recreate")
        eventually(lambda: bool(failed) or seen[-1] == "two")
    finally:
        goes_on = False
        for thread in threads:
            thread.join()
    assert not failed
    assert set(seen) == {"one", "two"}


def test_going_back_is_a_new_version_with_old_content(deploy: Deploy, volant_home: Path) -> None:
    deploy("one", "--tag", "first")
    deploy("two")
    run = run_volant("app", "rollback", "shop", home=volant_home)
    assert (run.returncode, run.stdout) == (0, "shop is at version 3\n")
    assert _version().remote() == "one"
    latest = _history()[0]
    assert (latest["action"], latest["of_version"], latest["tag"]) == ("rollback", 1, "first")
    run = run_volant("app", "rollback", "shop", "v2", home=volant_home)
    assert _version().remote() == "two"
    run = run_volant("app", "rollback", "shop", "9", home=volant_home)
    assert run.returncode == 2
    assert "has no version 9" in run.stderr
    run = run_volant("app", "rollback", "shop", "latest", home=volant_home)
    assert (run.returncode, run.stderr.splitlines()[0]) == (2, "error: `latest` is no version")


def test_rolling_over_gives_fresh_containers(deploy: Deploy, volant_home: Path) -> None:
    deploy()
    assert _version().remote() == "one"
    before = _containers()
    assert run_volant("app", "rollover", "shop", home=volant_home).returncode == 0
    assert _version().remote() == "one"
    eventually(lambda: not before & _containers())
    assert _history()[0]["action"] == "rollover"


def _containers() -> set[str]:
    rows = current.channel().request("container_list")["containers"]
    return {row["container_id"] for row in rows if row["function"] == "version"}


def test_stopping_is_for_good_and_the_name_is_free_again(deploy: Deploy) -> None:
    first = deploy()
    function = _version()
    assert function.remote() == "one"
    app = volant.App.lookup("shop")
    assert (app.app_id, app.info().lifecycle.version) == (first["app_id"], 1)
    app.stop()
    with pytest.raises(ExecutionError, match="does not run any more"):
        function.remote()
    with pytest.raises(NotFoundError, match="there is no app 'shop'"):
        _version().remote()
    again = deploy("two")
    assert again["app_id"] != first["app_id"]
    assert again["version"] == 1


def test_what_was_deployed_survives_the_death_of_the_daemon(
    own_home: Path, start: Callable[..., Any]
) -> None:
    program = start(SHOP, home=own_home)
    assert list(program.lines()) == ["deployed", "one one 4 RED 1 0"]
    code = (
        "import sys, volant; f = volant.Function.from_name('shop', 'version')\n"
        "print(f.remote(), f.object_id, flush=True); sys.stdin.readline()\n"
        "print(f.remote(), flush=True)"
    )
    first = start("-c", code, home=own_home).line()
    status = json.loads(run_volant("server", "status", "--json", home=own_home).stdout)
    os.kill(status["pid"], signal.SIGKILL)
    assert start("-c", code, home=own_home).line() == first
    listed = json.loads(run_volant("app", "list", "--json", home=own_home).stdout)
    assert [(app["name"], app["state"], app["version"]) for app in listed] == [
        ("shop", "deployed", 1)
    ]


def test_a_program_that_deploys_keeps_its_functions_over_a_restart(
    own_home: Path, start: Callable[..., Any]
) -> None:
    code = (
        "import os, signal, sys; sys.path.insert(0, '.'); import shop, volant\n"
        "from volant.channel import current\n"
        "shop.app.deploy(); print(shop.version.remote(), flush=True)\n"
        "os.kill(current.channel().request('server_status')['pid'], signal.SIGKILL)\n"
        "print(shop.version.remote(), shop.Model(size=2).describe.remote(), flush=True)\n"
    )
    assert list(start("-c", code, home=own_home).lines()) == ["one", "one one 2 RED 1 0"]


def test_the_gateway_of_a_dead_daemon_does_not_keep_its_port(own_home: Path) -> None:
    """Not even one that can do nothing."""
    port = free_port()
    (own_home / "config.toml").write_text(f"gateway_port = {port}\n")
    deployed = run_volant("deploy", str(APPS / "web.py"), home=own_home)
    assert deployed.returncode == 0, deployed.stderr
    status = eventually(lambda: _with_gateway(own_home))
    os.kill(status["gateway"]["pid"], signal.SIGSTOP)
    os.kill(status["pid"], signal.SIGKILL)
    assert run_volant("server", "start", home=own_home).returncode == 0
    assert eventually(lambda: _with_gateway(own_home))["gateway"]["port"] == port


def _with_gateway(home: Path) -> dict[str, Any] | None:
    status = ask(home, "server_status")
    return status if status["gateway"]["pid"] else None


def test_a_deployment_goes_on_with_the_next_daemon(
    own_home: Path, start: Callable[..., Program], gate: Gate
) -> None:
    """What was staged has died with the daemon: it is staged anew."""
    program = start("-c", GATED.format(port=gate.port), home=own_home)
    with gate.wait():
        pid = daemon_pid(own_home)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    gate.wait().close()
    assert program.line() == f"gate {gate.port}"
    [version] = ask(own_home, "app_history", app="shop")["versions"]
    assert version["version"] == 1


@pytest.mark.parametrize("small_disk", [(96, 0)], indirect=True)
@pytest.mark.parametrize("room", [0, 40 << 10])  # where it is imported; in the database
def test_a_deployment_on_a_full_disk_changes_nothing(small_disk: Path, room: int) -> None:
    deployed = _deploy(small_disk, "one")
    assert deployed.returncode == 0, deployed.stderr
    filling = small_disk / "filling"
    with filling.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    os.truncate(filling, filling.stat().st_size - room)
    refused = _deploy(small_disk, "two")
    assert refused.returncode == 1
    assert "the disk is full" in refused.stderr
    with at_home(small_disk):
        assert _version().remote() == "one"
        assert [one["version"] for one in _history()] == [1]
        filling.unlink()
        assert _deploy(small_disk, "two").returncode == 0
        assert _version().remote() == "two"


def test_a_deployment_dies_with_daemon_and_client_and_the_version_before_is_served(
    own_home: Path, start: Callable[..., Program], gate: Gate
) -> None:
    assert _deploy(own_home, "one").returncode == 0
    program = start("-c", GATED.format(port=gate.port), home=own_home)
    with gate.wait():
        pid = daemon_pid(own_home)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        program.kill()
    with at_home(own_home):
        assert _version().remote() == "one"
        assert [one["version"] for one in _history()] == [1]


def test_what_cannot_be_deployed_says_why() -> None:
    with pytest.raises(InvalidError, match="without a name cannot be deployed"):
        volant.App().deploy()
    with pytest.raises(InvalidError, match="no strategy 'blue'"):
        volant.App("x").deploy(strategy="blue")
    with pytest.raises(InvalidError, match="'a b' cannot be the tag"):
        volant.App("x").deploy(tag="a b")
    with pytest.raises(InvalidError, match="'fu' cannot be the id"):
        volant.Function.from_id("fu")


def test_commit_and_branch_are_kept(deploy: Deploy) -> None:
    deploy()
    [version] = _history()
    assert version["strategy"] == "rolling"
    assert version["deployed_by"]
    assert version["commit_id"] is None or len(version["commit_id"]) == 40


def test_a_deployed_app_prints_into_its_log(deploy: Deploy, volant_home: Path) -> None:
    deploy()
    _version().remote()
    deploy("two")
    _version().remote()
    run = run_volant("app", "logs", "shop", home=volant_home)
    assert run.stdout.splitlines() == ["version one", "version two"]
