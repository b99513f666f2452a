"""Requests about sandboxes that make no sense, or are not for whoever makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import function_spec
from volant import errors, ids

if TYPE_CHECKING:
    from tests.integration.hub.world import Client, World

#: A command, as the SDK asks for one.
EXEC: dict[str, Any] = {
    "sandbox_id": "sb-none", "argv": ["true"], "env": {}, "secrets": {}, "stored": [],
    "workdir": None, "timeout_s": None, "terminal": None, "piped": [True, True, True],
}  # fmt: skip
BAD: dict[str, list[Any]] = {
    "sandbox_id": [None, 7],
    "argv": ["x", None, [7], ["a\0b"]],
    "env": [None, {"": "x"}, {"a=b": "x"}, {"a": 7}, {"a": "x\0"}],
    "secrets": [None, {"a": 7}],
    "stored": [7, [7], [{"name": 7}]],
    "workdir": [7, "/a\0b"],
    "timeout_s": ["x", 0, -1, 1e300],
    "terminal": ["x", [], [1], [1, 2, 3], ["a", "b"], [-1, 80], [24, 1 << 40]],
    "piped": [None, [], [True], [1, 1, 1]],
}
#: Requests that name a sandbox, with what else they need.
OPS: dict[str, dict[str, Any]] = {
    "sandbox_started": {}, "sandbox_wait": {"wait": False}, "sandbox_terminate": {"wait": False},
    "sandbox_read": {"stream": "stdout", "offset": 0}, "sandbox_stdin": {},
    "sandbox_stdin_eof": {}, "sandbox_ready": {"timeout_s": 1.0},
    "sandbox_tunnels": {"timeout_s": 1.0}, "sandbox_show": {}, "sandbox_set_tags": {"tags": {}},
    "sandbox_exec_wait": {"command_id": "cm-x", "wait": False},
    "sandbox_exec_end": {"command_id": "cm-x"}, "sandbox_stats": {}, "sandbox_exit_image": {},
    "sandbox_mount_image": {"path": "/x", "image_id": "im-x"},
    "sandbox_snapshot": {"timeout_s": 1.0, "ttl_s": 1.0},
    "sandbox_reload_volumes": {"timeout_s": 1.0}, "sandbox_unmount_image": {"path": "/x"},
    "sandbox_pause": {}, "sandbox_resume": {}, "sandbox_memory_snapshot": {},
    "sandbox_fork": {"copy_id": "sb-" + "0" * 26, "name": None},
    "sidecar_find": {"name": "x", "with_finished": False}, "sidecar_list": {"with_finished": False},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
@pytest.mark.parametrize("op", ["sandbox_exec", "sandbox_attach"])
def test_a_command_that_makes_no_sense_ends_its_client(
    world: World, client: Client, op: str, name: str, value: Any
):
    client.ask(op, **{**EXEC, name: value})
    world.turn()
    assert client.broken


@pytest.mark.parametrize("name", sorted(set(EXEC) - {"stored"}))
def test_no_field_of_a_command_may_be_missing(world: World, client: Client, name: str):
    client.ask("sandbox_exec", **{key: one for key, one in EXEC.items() if key != name})
    world.turn()
    assert client.broken


@pytest.mark.parametrize("words", [[], [""], ["x" * (64 << 10)]])
def test_a_command_without_a_program_or_too_long_is_refused(
    world: World, client: Client, words: list[str]
):
    with pytest.raises(errors.InvalidError):
        client.request("sandbox_exec", **{**EXEC, "argv": words})


@pytest.mark.parametrize("op", sorted(OPS))
def test_a_sandbox_that_is_not_there_is_named(world: World, client: Client, op: str):
    with pytest.raises(errors.NotFoundError, match="sb-none"):
        client.request(op, sandbox_id="sb-none", **OPS[op])
    client.ask(op, sandbox_id=7, **OPS[op])
    world.turn()
    assert client.broken


@pytest.mark.parametrize(
    ("op", "fields"),
    [(op, fields) for op, fields in OPS.items() if fields],
)
def test_no_field_of_a_request_may_be_wrong(
    world: World, client: Client, op: str, fields: dict[str, Any]
):
    for name in fields:
        other = world.client()
        other.ask(op, **{"sandbox_id": "sb-none", **fields, name: [[]]})
        world.turn()
        assert other.broken or op == "sandbox_set_tags"


def test_a_sandbox_of_no_app_is_refused(world: World, client: Client):
    sandbox = {"options": {}, "tags": {}}
    with pytest.raises(errors.NotFoundError, match="does not run"):
        client.request(
            "sandbox_create", sandbox_id=ids.new_id("sb"), app_id="ap-none", sandbox=sandbox
        )
    client.ask("sandbox_create", sandbox_id="sb-mine", app_id="ap-none", sandbox=sandbox)
    world.turn()
    assert client.broken


def test_user_code_sees_no_sandbox_and_no_app_but_its_own(world: World, client: Client):
    client.open(function_spec())
    client.call(1)
    container = world.containers[-1]
    container.user.hello()
    with pytest.raises(errors.NotFoundError, match="does not run"):
        container.user.request(
            "sandbox_create", sandbox_id=ids.new_id("sb"), app_id="ap-none", sandbox={}
        )
    for op in ("sandbox_attach", "sandbox_exit_image"):
        with pytest.raises(errors.InvalidError, match="knows no request"):
            container.user.request(op, **EXEC)
    listed = container.user.request("sandbox_list", app_id=None, tags={}, with_finished=True)
    assert listed["sandboxes"] == []


def test_a_memory_snapshot_that_is_not_there_is_named(world: World, client: Client):
    wanted: dict[str, Any] = {"snapshot_id": "sn-none", "copy_id": ids.new_id("sb"), "name": None}
    with pytest.raises(errors.NotFoundError, match="sn-none"):
        client.request("sandbox_memory_snapshot_show", snapshot_id="sn-none")
    with pytest.raises(errors.NotFoundError, match="sn-none"):
        client.request("sandbox_restore", **wanted)
    for name, value in (("snapshot_id", 7), ("copy_id", "sb-x"), ("name", "a b")):
        other = world.client()
        other.ask("sandbox_restore", **{**wanted, name: value})
        world.turn()
        assert other.broken or name == "name"


@pytest.mark.parametrize(
    ("field", "value"), [("sandbox_id", "sb-none"), ("sandbox_id", None), ("of", 7)]
)
def test_a_sidecar_that_makes_no_sense_ends_its_client(
    world: World, client: Client, field: str, value: Any
):
    fields = {"sandbox_id": ids.new_id("sb"), "of": "sb-none", "sandbox": {"name": "x"}}
    client.ask("sidecar_create", **{**fields, field: value})
    world.turn()
    assert client.broken


def test_a_sidecar_of_no_sandbox_is_refused(world: World, client: Client):
    told = {"sandbox_id": ids.new_id("sb"), "of": "sb-none", "sandbox": {"name": "x"}}
    with pytest.raises(errors.NotFoundError, match="sb-none"):
        client.request("sidecar_create", **told)
