"""Requests to ports of sandboxes through the gateway, let in by tokens."""

from __future__ import annotations

import http.client
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

import volant
from volant.errors import ExecutionError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from volant.sdk.sandboxes.connecting import ConnectCredentials

app = volant.App("sandbox-connect")
#: Answers with the request that it got.
SERVER = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        told = {"path": self.path, "headers": [[k.lower(), v] for k, v in self.headers.items()]}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with app.run():
        yield


@pytest.fixture(scope="module", params=[False, True], ids=["shared", "own-network"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[volant.Sandbox]:
    """A sandbox that answers at port 8080."""
    made = volant.Sandbox.create(
        "python3", "-c", SERVER, app=app, block_network=request.param,
        readiness_probe=volant.Probe.with_tcp(8080),
    )  # fmt: skip
    made.wait_until_ready()
    yield made
    made.terminate()


def get(
    given: ConnectCredentials, path: str = "", headers: dict[str, str] | None = None
) -> tuple[int, dict]:
    """Status and what the server saw."""
    url = urlsplit(given.url)
    connection = http.client.HTTPConnection("127.0.0.1", url.port, timeout=30)
    connection.request("GET", f"{url.path}/{path}", headers={"Host": url.netloc, **(headers or {})})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body) if answer.status == 200 else {}


def values(seen: dict, name: str) -> list[str]:
    """The values of a header."""
    return [value for key, value in seen["headers"] if key == name]


@pytest.mark.parametrize("where", ["header", "query", "cookie", "modal-query"])
def test_a_token_lets_in_and_stays_outside(sandbox: volant.Sandbox, where: str) -> None:
    given = sandbox.create_connect_token({"user": "ä"})
    path, headers = "a?x=1", {"Cookie": "other=1; last=2"}
    if where == "header":
        headers["Authorization"] = f"Bearer {given.token}"
    elif where == "cookie":
        headers["Cookie"] = f"other=1; _volant_connect_token={given.token}; last=2"
    else:
        name = "_modal_connect_token" if where == "modal-query" else "_volant_connect_token"
        path = f"a?{name}={given.token}&x=1"
    status, seen = get(given, path, headers)
    assert status == 200
    assert seen["path"] == "/a?x=1"
    assert values(seen, "cookie") == ["other=1; last=2"]
    assert [json.loads(one) for one in values(seen, "x-verified-user-data")] == [{"user": "ä"}]
    assert given.token not in json.dumps(seen)
    home = Path(os.environ["VOLANT_HOME"])
    kept = [path for path in home.glob("*") if path.is_file()]
    assert not [one for one in kept if given.token.encode() in one.read_bytes()]


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic {token}"},
        {"Cookie": "x_volant_connect_token={token}"}, {"Volant-Key": "{token}"},
    ],
)  # fmt: skip
def test_without_it_nobody_comes_in(sandbox: volant.Sandbox, headers: dict[str, str]) -> None:
    given = sandbox.create_connect_token()
    shown = {name: value.format(token=given.token) for name, value in headers.items()}
    assert get(given, "", shown)[0] == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Verified-User-Data": "root"}, {"X_Verified_User_Data": "root"},
        {"x-verified-user-data": "root"}, {"Connection": "X-Verified-User-Data"},
    ],
)  # fmt: skip
def test_nobody_says_for_whom_a_token_was_made_but_who_made_it(
    sandbox: volant.Sandbox, headers: dict[str, str]
) -> None:
    given = sandbox.create_connect_token("guest")
    status, seen = get(given, "", {"Authorization": f"Bearer {given.token}", **headers})
    assert status == 200
    assert values(seen, "x-verified-user-data") == ["guest"]
    assert not values(seen, "x_verified_user_data")


def test_a_token_is_for_one_sandbox_and_its_port(sandbox: volant.Sandbox) -> None:
    given, other = sandbox.create_connect_token(), sandbox.create_connect_token(port=9)
    shown = {"Authorization": f"Bearer {given.token}"}
    assert get(other, "", shown)[0] == 401
    assert get(other, "", {"Authorization": f"Bearer {other.token}"})[0] == 502, "nobody listens"


def test_it_is_good_until_its_sandbox_ends() -> None:
    made = volant.Sandbox.create("python3", "-c", SERVER, app=app)
    given = made.create_connect_token()
    made.terminate(wait=True)
    assert get(given, "", {"Authorization": f"Bearer {given.token}"})[0] == 404
    with pytest.raises(ExecutionError, match="has finished"):
        made.create_connect_token()


@pytest.mark.parametrize(("networks", "status"), [(["192.0.2.0/24"], 403), (["127.0.0.0/8"], 200)])
def test_requests_come_from_networks_of_the_list(networks: list[str], status: int) -> None:
    made = volant.Sandbox.create(
        "python3", "-c", SERVER, app=app, inbound_cidr_allowlist=networks,
        readiness_probe=volant.Probe.with_tcp(8080), unencrypted_ports=[8080],
    )  # fmt: skip
    made.wait_until_ready()
    given = made.create_connect_token()
    assert get(given, "", {"Authorization": f"Bearer {given.token}"})[0] == status
    host, port = made.tunnels()[8080].tcp_socket
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request("GET", "/")
        assert connection.getresponse().status == 200 == status
    except (ConnectionError, http.client.HTTPException):
        assert status == 403
    finally:
        connection.close()
    made.terminate()


@pytest.mark.parametrize("metadata", ["x" * 512, "ä", "a\r\nb", {"a": {1, 2}}])
def test_what_no_header_holds_is_refused(metadata: object) -> None:
    with pytest.raises(InvalidError, match="user_metadata"):
        volant.Sandbox("sb-" + "0" * 26).create_connect_token(metadata)  # type: ignore[arg-type]
