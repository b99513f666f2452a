"""Examples that answer to the web, asked over the sockets of their containers."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from websockets.sync.client import unix_connect

from tests.behaviours.web_client import client_of, socket_of
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

EXAMPLES = ROOT / "examples/web"
#: Asked by a test of its own, in a browser.
NOT_RUN = {"streamlit_app"}


@contextlib.contextmanager
def running(name: str, *kept: str) -> Iterator[Any]:
    """An example that runs, with a container of each of these functions."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        with module.app.run():
            for one in kept:
                found = getattr(module, one)
                found = found() if isinstance(getattr(found, "_user_cls", None), type) else found
                found.update_autoscaler(min_containers=1)
            yield module
    finally:
        del sys.modules[name]


def test_each_example_is_asked_by_a_test() -> None:
    source = (ROOT / "tests/behaviours/test_web_examples.py").read_text()
    names = {path.stem for path in EXAMPLES.glob("*.py")} - NOT_RUN
    assert [name for name in names if f'running("{name}"' not in source] == []


def test_an_api_answers_in_json(volant_home: Path) -> None:
    with running("json_api", "celsius", "menu"):
        with client_of(socket_of(volant_home, "celsius")) as client:
            assert client.get("/", params={"fahrenheit": 98.6}).json() == {"celsius": 37.0}
            assert client.get("/openapi.json").json()["paths"]["/"]["get"]["parameters"]
        with client_of(socket_of(volant_home, "menu")) as client:
            found = client.get("/drinks", params={"price": 4}).json()
            assert found == [{"name": "tea", "price": 3.5}]


def test_events_stream(volant_home: Path) -> None:
    with (
        running("streaming", "chat"),
        client_of(socket_of(volant_home, "chat")) as client,
        client.stream("GET", "/", params={"prompt": "one two"}) as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        assert list(response.iter_text()) == ["data: one\n\n", "data: two\n\n"]


def test_a_websocket_echoes(volant_home: Path) -> None:
    with running("websocket_echo", "web"):
        path = socket_of(volant_home, "web")
        with client_of(path) as client:
            assert "<title>echo</title>" in client.get("/").text
        with unix_connect(path, uri="ws://container/echo") as connection:
            connection.send("hello")
            assert connection.recv() == "hello"


def test_files_are_uploaded_by_a_form_and_as_a_body(volant_home: Path) -> None:
    with running("file_upload", "web"), client_of(socket_of(volant_home, "web")) as client:
        assert 'type="file"' in client.get("/").text
        answer = client.post("/files", files=[("files", ("a.txt", b"1\n2\n")), ("files", b"3")])
        assert answer.json() == ["a.txt: 2 lines", "upload: 1 lines"]
        answer = client.put("/files/b.bin", content=bytes(100))
        assert answer.json() == {"name": "b.bin", "bytes": 100}


def test_a_flask_site_uses_what_its_container_has_loaded(volant_home: Path) -> None:
    with (
        running("flask_site", "Site"),
        client_of(socket_of(volant_home, "Site")) as client,
    ):
        assert "3 letters in all: a 2, b 1" in client.get("/", params={"text": "a b a"}).text


def test_a_server_keeps_each_client_with_one_container(capsys: pytest.CaptureFixture[str]) -> None:
    with running("sticky_server") as module:
        module.main()
        assert module.__doc__.endswith(capsys.readouterr().out)


def test_a_session_that_was_started_has_a_container_to_itself(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with running("private_sessions") as module:
        module.main()
        assert module.__doc__.endswith(capsys.readouterr().out)


def test_tools_are_called_over_http() -> None:
    """Issue 8, deliver 4."""
    with running("mcp_server", "web") as module:
        url = f"{module.web.get_web_url()}/mcp"
        assert asyncio.run(module.ask(url, "two words")) == {"count": 2}
