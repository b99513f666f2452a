"""Web functions as their users reach them: over HTTP, through the gateway, from zero."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.behaviours.apps import gated
from tests.behaviours.programs import WITHIN_S, containers
from tests.support import eventually, run_volant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with gated.app.run():
        yield


def url_of(function: Any) -> str:
    url = function.get_web_url()
    assert url
    return f"{url}/"


def get(url: str, **options: Any) -> httpx.Response:
    return httpx.get(url, timeout=WITHIN_S, **options)


def by_host(url: str) -> tuple[str, dict[str, str]]:
    """The same function by its own host, which not every machine resolves."""
    parts = httpx.URL(url)
    label = parts.path.strip("/") or parts.host.partition(".")[0]
    return f"http://127.0.0.1:{parts.port}/", {"Host": f"{label}.localhost:{parts.port}"}


def test_a_request_starts_a_container_and_is_answered(volant_home: Path) -> None:
    url = url_of(gated.open_to_all)
    assert containers(volant_home, function="open_to_all") == []
    response = get(url + "a")
    assert response.status_code == 200
    assert response.text == "hello /gated-open-to-all-dev /gated-open-to-all-dev/a 0"


def test_a_function_has_a_host_of_its_own() -> None:
    address, headers = by_host(url_of(gated.open_to_all))
    assert get(address + "a", headers=headers).text == "hello  /a 0"


def test_methods_of_a_class_have_addresses_of_their_own() -> None:
    base = url_of(gated.open_to_all)
    for label, text in (
        ("gated-model-first-dev", "model"),
        ("gated-model-second-dev", "model two"),
    ):
        url = base.replace("gated-open-to-all-dev", label)
        assert get(url).text.startswith(f"{text} ")


def test_a_label_is_chosen_by_the_user() -> None:
    assert "my-own-dev" in url_of(gated.labelled)
    assert get(url_of(gated.labelled)).text.startswith("labelled")


def test_requests_wait_for_each_other_where_a_container_takes_one(volant_home: Path) -> None:
    url, answers = url_of(gated.one_at_a_time), []

    def ask() -> None:
        answers.append(get(url).status_code)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WITHIN_S)
    assert answers == [200] * 8
    assert len(containers(volant_home, function="one_at_a_time")) == 1


def test_a_large_body_passes() -> None:
    body = bytes(20 << 20)
    response = httpx.post(url_of(gated.open_to_all), content=body, timeout=WITHIN_S)
    assert response.text.endswith(f" {len(body)}")


def test_large_messages_of_websockets_pass_compressed() -> None:
    parts = httpx.URL(url_of(gated.open_to_all))
    with connect(
        f"ws://{parts.host}:{parts.port}{parts.path}", max_size=None, open_timeout=WITHIN_S
    ) as one:
        assert "permessage-deflate" in one.response.headers["Sec-WebSocket-Extensions"]
        message = b"x" * (8 << 20)
        one.send(message)
        assert one.recv(WITHIN_S) == message


def test_a_request_that_runs_too_long_is_ended() -> None:
    response = get(url_of(gated.hurried) + "slow")
    assert response.status_code == 504
    assert "ran longer than its timeout" in response.text
    assert get(url_of(gated.hurried)).status_code == 200


def test_the_death_of_a_container_is_a_bad_gateway_and_the_next_request_gets_another() -> None:
    url = url_of(gated.open_to_all)
    assert httpx.post(url + "die", timeout=WITHIN_S).status_code == 502
    assert get(url).status_code == 200


def test_code_that_does_not_load_is_told(volant_home: Path) -> None:
    response = get(url_of(gated.broken))
    assert response.status_code == 500
    assert "no such model" in response.text


def test_who_has_no_token_starts_no_container(volant_home: Path) -> None:
    """Behaviour 139."""
    url = url_of(gated.guarded)
    assert get(url).status_code == 401
    assert containers(volant_home, function="guarded") == []
    made = run_volant("token", "create", "test", "--json", home=volant_home)
    token = json.loads(made.stdout)
    pair = {"Modal-Key": token["key"], "Modal-Secret": token["secret"]}
    assert get(url, headers=pair).text.startswith("secret")
    listed = run_volant("token", "list", home=volant_home)
    assert token["key"] in listed.stdout
    assert token["secret"] not in listed.stdout
    run_volant("token", "revoke", token["key"], home=volant_home)
    eventually(lambda: get(url, headers=pair).status_code == 401)
    unknown = run_volant("token", "revoke", token["key"], home=volant_home)
    assert unknown.returncode == 2
    assert "volant token list" in unknown.stderr


def test_the_gateway_is_in_the_status(volant_home: Path) -> None:
    shown = run_volant("server", "status", "--json", home=volant_home)
    gateway = json.loads(shown.stdout)["gateway"]
    assert gateway["routes"] >= 8
    assert str(gateway["port"]) in url_of(gated.labelled)
    with socket.create_connection(("127.0.0.1", gateway["port"])):
        pass


DEPLOYED = """
import volant
app = volant.App("steady")
@app.function()
@volant.concurrent(max_inputs=20)
@volant.asgi_app()
def site():
    async def answer(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"VERSION"})
    return answer
"""


def test_no_request_fails_while_a_version_takes_the_place_of_another(
    volant_home: Path, tmp_path: Path
) -> None:
    program = tmp_path / "steady.py"
    url = url_of(gated.open_to_all).replace("gated-open-to-all-dev", "steady-site")

    def deploy(version: str) -> None:
        program.write_text(DEPLOYED.replace("VERSION", version))
        assert run_volant("deploy", program, home=volant_home).returncode == 0

    deploy("one")
    assert get(url).text == "one"
    over, seen = threading.Event(), []

    def ask() -> None:
        with httpx.Client(timeout=WITHIN_S) as client:
            while not over.is_set():
                response = client.get(url)
                seen.append((response.status_code, response.text))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        deploy("two")
        eventually(lambda: seen[-1][1] == "two", within_s=WITHIN_S)
    finally:
        over.set()
        asking.join(WITHIN_S)
        run_volant("app", "stop", "steady", home=volant_home)
    assert set(seen) == {(200, "one"), (200, "two")}
