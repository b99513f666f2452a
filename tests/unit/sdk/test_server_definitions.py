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
        "drain_s": 3.0,
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
        ({"timeout": 5}, "a server cannot have timeout="),
        ({"retries": 5}, "a server cannot have retries="),
        ({"schedule": volant.Period(hours=1)}, "a server cannot have schedule="),
    ],
)
def test_113_settings_that_make_no_sense_are_refused(settings: Any, text: str) -> None:
    with pytest.raises(InvalidError, match=text):
        server(**settings)


@pytest.mark.parametrize("name", ["h2_enabled", "routing_region", "compute_region"])
def test_settings_that_are_planned_say_so(name: str) -> None:
    with pytest.raises(UnimplementedError, match=name):
        server(**{name: "us-east"})


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
    with pytest.raises(InvalidError, match=text):
        server(raw)


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
    for name in ("stats", "logs", "sessions", "from_id", "metrics"):
        with pytest.raises(UnimplementedError, match=f"Server.{name}"):
            getattr(volant.Server, name)()
