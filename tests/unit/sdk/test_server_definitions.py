"""What makes no sense in a server is refused where it is written."""

from __future__ import annotations

from typing import Any

import pytest

import volant
from volant.errors import ExecutionError, InvalidError, UnimplementedError


class Plain:
    @volant.enter()
    def start(self) -> None: ...


def server(raw: Any = Plain, **settings: Any) -> Any:
    """A server of an app of its own."""
    app: Any = volant.App()
    return app.server(serialized=True, **settings)(raw)


def described(**settings: Any) -> dict[str, Any]:
    spec: dict[str, Any] = server(**settings)._cls._function.to_wire("m", 0)
    return spec


def test_a_server_is_a_class_with_one_way_to_answer() -> None:
    spec = described(port=9000, startup_timeout=7, exit_grace_period=3, unauthenticated=True)
    [method] = spec["methods"]
    assert method["web"] == {
        "kind": "stateless", "label": None, "method": None, "docs": False, "port": 9000,
        "startup_timeout_s": 7.0, "requires_proxy_auth": False, "custom_domains": [],
        "drain_s": 3.0, "scaleup_window_s": 0.0, "h2_enabled": False,
    }  # fmt: skip
    assert spec["options"]["has_exit"] is True
    assert described()["methods"][0]["web"]["requires_proxy_auth"] is True


@pytest.mark.parametrize(
    ("settings", "most", "target"),
    [
        ({}, 1000, None),
        ({"max_concurrency": 5}, 5, None),
        ({"max_concurrency": 5, "target_concurrency": 2.5}, 5, 2),
        ({"target_concurrency": 0.5}, 1000, 1),
    ],
)
def test_requests_share_a_container(settings: Any, most: int, target: int | None) -> None:
    options = described(**settings)["options"]
    assert (options["max_inputs"], options["target_inputs"]) == (most, target)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"port": 0}, "port must be from 1 to 65535"),
        ({"port": "8000"}, "port must be from 1 to 65535"),
        ({"startup_timeout": 0}, "startup_timeout must be above 0"),
        ({"exit_grace_period": -1}, "exit_grace_period must be from 0"),
        ({"exit_grace_period": True}, "exit_grace_period must be from 0"),
        ({"max_concurrency": 0}, "max_concurrency must be from 1 to 1000"),
        ({"target_concurrency": 0}, "target_concurrency must be a number above 0"),
        ({"target_concurrency": 3, "max_concurrency": 2}, "above max_concurrency"),
        ({"min_containers": 2, "max_containers": 1}, "is above max_containers"),
        ({"scaleup_window": -1}, "scaleup_window must be from 0"),
        ({"scaleup_window": 4000}, "scaleup_window must be from 0"),
        ({"routing_region": 5}, "routing_region must be the name of a region"),
        ({"compute_region": ["eu", ""]}, "compute_region must be the name of a region"),
        ({"timeout": 5}, "a server cannot have timeout="),
        ({"retries": 5}, "a server cannot have retries="),
        ({"schedule": volant.Period(hours=1)}, "a server cannot have schedule="),
    ],
)
def test_113_settings_that_make_no_sense_are_refused(settings: Any, text: str) -> None:
    """Behaviour 113."""
    with pytest.raises(InvalidError, match=text):
        server(**settings)


def test_a_server_says_that_its_program_speaks_http_2() -> None:
    assert described(h2_enabled=True)["methods"][0]["web"]["h2_enabled"] is True


def test_regions_are_taken_and_change_nothing() -> None:
    given = described(routing_region="us-east", compute_region=["eu", "us"])
    assert given["methods"] == described()["methods"]
    assert given["options"] == described()["options"]


def test_each_session_of_a_sessioned_server_has_a_container_for_itself() -> None:
    app: Any = volant.App()
    made = app.server(serialized=True, max_concurrency=5)(
        volant.sessioned()(type("S", (Plain,), {}))
    )
    spec = made._cls._function.to_wire("m", 0)
    assert spec["methods"][0]["web"]["session_requests_max"] == 5
    assert (spec["options"]["max_inputs"], spec["options"]["single_use"]) == (1, True)


def test_sessioned_goes_below_and_takes_no_target() -> None:
    app: Any = volant.App()
    sessioned: Any = volant.sessioned
    with pytest.raises(InvalidError, match="needs parentheses"):
        sessioned(Plain)
    with pytest.raises(InvalidError, match="needs a class"):
        volant.sessioned()(server())
    with pytest.raises(InvalidError, match="target_concurrency"):
        app.server(target_concurrency=2)(volant.sessioned()(type("S", (Plain,), {})))


@pytest.mark.parametrize("value", [0, -1, "1", True, 8 * 86400, None])
def test_a_session_is_not_idle_for_ever(value: Any) -> None:
    with pytest.raises(InvalidError, match="idle_timeout must be"):
        server().sessions.start(idle_timeout=value)
    with pytest.raises(InvalidError, match="by its token"):
        server().sessions.terminate(value)


class WithMethod(Plain):
    @volant.method()
    def ask(self) -> None: ...


class WithBatch(Plain):
    @volant.batched(max_batch_size=2, wait_ms=10)
    def ask(self, x: list[int]) -> list[int]:
        return x


class WithPage(Plain):
    @volant.asgi_app()
    def page(self) -> None: ...


class WithConstructor(Plain):
    def __init__(self) -> None:
        self.x = 1


class WithParameter(Plain):
    size: int = volant.parameter(default=1)


@volant.concurrent(max_inputs=3)
class Concurrent(Plain):
    pass


class Idle:
    @volant.exit()
    def stop(self) -> None: ...


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (WithMethod, r"`WithMethod.ask` has @volant.method\(\), and a server takes no calls"),
        (WithBatch, "`WithBatch.ask` has @volant.batched, and a server takes no calls"),
        (WithPage, "`WithPage.page` answers to the web, and so does the port of the server"),
        (WithConstructor, "server `WithConstructor` has an __init__ of its own"),
        (WithParameter, "`WithParameter.size` is a parameter, and a server has no objects"),
        (Concurrent, "server `Concurrent` cannot have @volant.concurrent"),
        (Idle, "server `Idle` starts nothing"),
        (lambda: None, "@app.server needs a class"),
    ],
)
def test_113_a_server_only_has_hooks(raw: Any, text: str) -> None:
    """Behaviour 113."""
    with pytest.raises(InvalidError, match=text):
        server(raw)


def test_113_a_server_is_not_concurrent_in_either_order() -> None:
    """Behaviour 113."""
    made: Any = server()
    with pytest.raises(InvalidError, match=r"cannot have @volant\.concurrent"):
        volant.concurrent(max_inputs=2)(made)


def test_a_server_has_a_scope_that_containers_can_import() -> None:
    with pytest.raises(InvalidError, match="not in global scope"):

        @volant.App().server()
        class Local(Plain):
            pass


def test_a_snapshot_has_to_be_asked_for() -> None:
    class Warm:
        @volant.enter(snap=True)
        def load(self) -> None: ...

    with pytest.raises(InvalidError, match="enable_memory_snapshot=True"):
        server(Warm)
    assert server(Warm, enable_memory_snapshot=True)


def test_parentheses_are_needed() -> None:
    app: Any = volant.App()
    with pytest.raises(InvalidError, match="needs parentheses"):
        app.server(Plain)


def test_a_server_can_be_derived_from_another() -> None:
    base = server()

    class Derived(base):  # type: ignore[misc]  # it stands for its class
        pass

    assert server(Derived, port=9001)._cls._methods


def test_a_server_is_not_called_and_has_an_address_only_while_its_app_runs() -> None:
    made = server()
    with pytest.raises(InvalidError, match="is a server and has no objects"):
        made()
    with pytest.raises(ExecutionError):
        made.get_url()
    assert made.object_id is None


def test_an_app_lists_its_servers() -> None:
    app: Any = volant.App()
    app.server(serialized=True)(Plain)
    assert list(app.registered_functions) == ["Plain"]
    assert app.registered_web_endpoints == ["Plain"]


def test_what_is_planned_of_servers_says_so() -> None:
    with pytest.raises(UnimplementedError, match=r"Server.metrics"):
        volant.Server.metrics()


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (lambda logs: logs.tail(0), "entries must be from 1"),
        (lambda logs: logs.tail("5"), "entries must be from 1"),
        (lambda logs: logs.tail(source="file"), "source must be one of"),
        (lambda logs: logs.fetch(since="today"), "since must be a datetime"),
        (lambda logs: logs.fetch(since=0, until=-1), "until must be a datetime"),
        (lambda logs: list(logs.stream(timeout=-1)), "seconds from 0 on"),
    ],
)
def test_logs_are_asked_for_with_what_makes_sense(ask: Any, text: str) -> None:
    with pytest.raises(InvalidError, match=text):
        ask(server().logs)
