"""Functions that answer to the web, reached over the sockets of their containers."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.client import unix_connect

import volant
from tests.behaviours.apps import web
from tests.behaviours.programs import WITHIN_S, ask, at_home, containers, has_printed
from tests.behaviours.web_client import Raw, client_of, socket_of
from tests.support import eventually
from volant import errors
from volant.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.unit.images.registry_server import Registry


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with web.app.run():
        yield


def test_an_endpoint_is_one_route_with_typed_parameters(volant_home: Path) -> None:
    """Behaviour 109: other methods get 405, any origin may ask, docs are there if wanted."""
    with client_of(socket_of(volant_home, "create")) as client:
        made = client.post("/", params={"name": "x", "count": "3"})
        assert made.json() == {"name": "x", "count": 3, "input": None}
        assert "date" in made.headers
        assert client.post("/", params={"name": "x", "count": "many"}).status_code == 422
        assert client.get("/").status_code == 405
        assert "<html" in client.get("/docs").text
        asked = client.options(
            "/", headers={"Origin": "http://a", "Access-Control-Request-Method": "POST"}
        )
        assert asked.headers["access-control-allow-origin"] in ("*", "http://a")


def test_an_endpoint_has_no_docs_unless_they_are_wanted(volant_home: Path) -> None:
    """Behaviour 109: `GET` is its method. Behaviour 144: `concurrent` is above it."""
    with client_of(socket_of(volant_home, "ask")) as client:
        assert client.post("/", params={"question": "abc"}).status_code == 405
        assert client.get("/", params={"question": "abc"}).json() == "cba"
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert client.get(path).status_code == 404


def test_requests_call_functions(volant_home: Path) -> None:
    """Behaviours 73 and 135: of their app, and of one that a request runs."""
    with client_of(socket_of(volant_home, "Calling", 0)) as client:
        assert client.get("/", params={"number": 4}).json() == 8
    with client_of(socket_of(volant_home, "Calling", 1)) as client:
        assert client.get("/", params={"number": 4}).json() == -8


def test_lifespan_and_background_tasks_run(volant_home: Path) -> None:
    """Behaviour 112: what startup yields is in the state of requests."""
    with client_of(socket_of(volant_home, "whole")) as client:
        assert client.post("/later").json() == "soon"
        found = eventually(lambda: (client.get("/state").json()["noted"] or [None])[0])
        assert found == "in the background"
        assert client.get("/state").json()["shared"] == "with requests"


def test_an_app_knows_what_the_gateway_knows(volant_home: Path) -> None:
    path = socket_of(volant_home, "whole")
    told = {
        "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https",
        "X-Forwarded-Prefix": "/web-whole", "Host": "example.com:8443",
    }  # fmt: skip
    with client_of(path, **told) as client:
        state = client.get("/state?a=b").json()
    assert state["client"] == "192.0.2.7"
    assert state["url"] == "https://example.com:8443/web-whole/state?a=b"
    assert state["root"] == "/web-whole"


def test_chunks_arrive_as_they_are_made(volant_home: Path) -> None:
    """Behaviour 112: the first is there before the last is made."""
    path = socket_of(volant_home, "whole")
    with client_of(path) as client, client.stream("GET", "/stream/one") as response:
        chunks = response.iter_text()
        assert next(chunks) == "first\n"
        with client_of(path) as other:
            other.get("/open/one")
        assert next(chunks) == "last\n"


def test_a_body_is_read_while_it_is_sent(volant_home: Path) -> None:
    with Raw(socket_of(volant_home, "whole")) as connection:
        connection.begin("/upper/")
        connection.chunk(b"first")
        response = connection.getresponse()
        assert response.read1() == b"FIRST"
        connection.chunk(b"last")
        connection.chunk(b"")
        assert response.read() == b"LAST"


def test_an_app_hears_of_a_client_that_is_gone(volant_home: Path) -> None:
    path = socket_of(volant_home, "whole")
    with client_of(path) as client, client.stream("GET", "/endless") as response:
        assert next(response.iter_bytes()) == b"."
    with client_of(path) as client:
        eventually(lambda: "disconnected" in client.get("/state").json()["noted"])


def test_websockets_have_no_limit_and_are_compressed(volant_home: Path) -> None:
    path = socket_of(volant_home, "whole")
    large = bytes(20 << 20)
    with unix_connect(path, uri="ws://container/echo", max_size=None) as connection:
        for message in (b"short", large):
            connection.send(message)
            assert connection.recv() == message
        names = [extension.name for extension in connection.protocol.extensions]
        assert names == ["permessage-deflate"]


def test_an_exception_is_printed_and_answered(volant_home: Path) -> None:
    with client_of(socket_of(volant_home, "whole")) as client:
        assert client.get("/fail").status_code == 500
    eventually(lambda: has_printed(volant_home, web.app.app_id, "Refused: on purpose"))


def test_an_app_without_lifespan_is_served_and_sees_no_path_of_the_host(volant_home: Path) -> None:
    path = socket_of(volant_home, "bare")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    with client_of(path) as client:
        names = client.get("/").text
    assert names
    assert str(volant_home) not in names


def test_wsgi_apps_are_served_in_threads(volant_home: Path) -> None:
    with client_of(socket_of(volant_home, "flasked"), **{"X-Forwarded-Prefix": "/at"}) as client:
        assert client.post("/sum", content=b"1 2 39").text == "42"
        assert client.get("/lines").text == "one\ntwo\n"


def test_a_server_of_the_users_own_is_reached_by_its_port(volant_home: Path) -> None:
    """Behaviour 113: its container is ready when the port accepts."""
    with client_of(socket_of(volant_home, "served")) as client:
        listed = client.get("/")
        assert listed.headers["server"].startswith("SimpleHTTP")
        assert "Directory listing" in listed.text


def test_a_container_answers_beside_plain_methods(volant_home: Path) -> None:
    """One instance for all: hooks, inputs of each kind, and two ways to answer."""
    mixed = web.Mixed()
    assert mixed.note.remote("first") == ["entered", "first"]
    assert mixed.note_async.remote("second") == ["entered", "first", "second"]
    assert list(mixed.count.remote_gen(2000)) == list(range(2000))
    methods = list(web.Mixed._methods)  # type: ignore[attr-defined]  # of `Cls`
    with client_of(socket_of(volant_home, "Mixed", methods.index("read"))) as client:
        assert client.get("/", params={"last": 2}).json() == ["first", "second"]
    with client_of(socket_of(volant_home, "Mixed", methods.index("second"))) as client:
        assert client.get("/").json() == {"log": ["entered"]}
    [row] = containers(volant_home, function="Mixed")
    assert row["inputs_done"] == 3


@pytest.mark.parametrize(
    ("broken", "expected", "match"),
    [
        (web.FailsAtStart, web.Refused, "no weights"),
        (web.NeverListens, errors.TimeoutError, "nothing listens on port 18438 after 0.05 s"),
        (web.ReturnsNothing, InvalidError, "`web` returned NoneType, which is no app"),
    ],
)
def test_what_fails_at_the_start_fails_the_container(
    broken: type, expected: type[Exception], match: str
) -> None:
    """Behaviours 112 and 113: with the user's own exception."""
    with pytest.raises(expected, match=match):
        broken().answer.remote()


@pytest.mark.parametrize("form", ["remote", "spawn", "map", "remote_gen", "spawn_map"])
def test_what_answers_to_the_web_cannot_be_called(form: str) -> None:
    for function in (web.whole, web.Mixed().read):
        with pytest.raises(InvalidError, match=rf"cannot be called with \.{form}\(\)"):
            getattr(function, form)()
        with pytest.raises(InvalidError, match=rf"cannot be called with \.{form}\(\)"):
            getattr(function, form).aio()


def test_requests_may_finish_when_their_container_has_to_end(volant_home: Path) -> None:
    """Behaviour 112: no further one is accepted; lifespan shutdown and exit hooks come last."""
    path = socket_of(volant_home, "whole")
    [row] = containers(volant_home, function="whole")
    with Raw(path) as connection, Raw(path) as slow:
        connection.begin("/upper/")
        connection.chunk(b"first")
        response = connection.getresponse()
        slow.request("GET", "/large")
        left = slow.getresponse()
        ask(volant_home, "container_stop", container=row["container_id"])
        eventually(lambda: not _accepts(path), within_s=WITHIN_S)
        connection.chunk(b"last")
        connection.chunk(b"")
        assert response.read() == b"FIRSTLAST"
        assert len(left.read()) == web.LARGE_BYTES
    eventually(lambda: not os.path.exists(path), within_s=WITHIN_S)
    assert has_printed(volant_home, web.app.app_id, "shut down")


def test_plain_processes_answer_as_well(own_home: Path) -> None:
    """On the rung `process`, in a program of its own."""
    with at_home(own_home, VOLANT_ISOLATION="process"):
        app = volant.App("process")
        app.function(serialized=True, min_containers=1)(_answering())
        app.function(serialized=True, name="site", min_containers=1)(_site())
        with app.run(), client_of(socket_of(own_home, "answer")) as client:
            assert client.get("/").text == "hello"
            with client_of(socket_of(own_home, "site")) as other:
                assert other.get("/").text == "from WSGI"


def _answering() -> Callable[[], Any]:
    @volant.asgi_app()
    def answer() -> Any:
        async def serve(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                raise ValueError(scope)  # not `assert`, which pytest makes something else of
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"hello"})

        return serve

    return answer


def _site() -> Callable[[], Any]:
    @volant.wsgi_app()
    def site() -> Any:
        def serve(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [])
            return [b"from WSGI"]

        return serve

    return site


def test_an_image_needs_nothing_of_what_serves(registry: Registry, own_home: Path) -> None:
    """And programs that are started in it see none of that beside its own packages."""
    with at_home(own_home):
        image = volant.Image.from_registry(f"{registry.host}/python:base")
        app = volant.App("image", image=image)
        app.function(serialized=True, min_containers=1)(_answering())
        looking = app.function(serialized=True)(_look_for_packages)
        with app.run():
            with client_of(socket_of(own_home, "answer")) as client:
                assert client.get("/").text == "hello"
            assert looking.remote() == []


def _look_for_packages() -> list[str]:
    """Those that programs in a container find of what serves."""
    import subprocess
    import sys

    code = """import importlib.util
print(*filter(importlib.util.find_spec, ("click", "uvicorn", "websockets", "typing_extensions")))"""
    started = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return started.stdout.decode().split()


def _accepts(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except OSError:
            return False
    return True


def test_the_functions_that_answer_are_listed() -> None:
    """Behaviour 74."""
    assert web.app.registered_web_endpoints == [
        "create", "Calling.doubled", "Calling.negated", "ask", "whole", "bare", "flasked",
        "served", "Mixed.read", "Mixed.second", "FailsAtStart.web", "NeverListens.web",
        "ReturnsNothing.web",
    ]  # fmt: skip
    assert "web-whole-dev" in str(web.whole.get_web_url())
    assert "web-mixed-read-dev" in str(web.Mixed().read.get_web_url())
