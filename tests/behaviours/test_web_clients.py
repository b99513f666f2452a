"""Clients that people have, against a deployed app: curl, httpx, websockets."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import volant
from tests.behaviours.apps import clients
from tests.behaviours.browser import chromium
from tests.behaviours.programs import WITHIN_S
from tests.behaviours.web_client import Chunked
from tests.support import daemon_pid, eventually, run_volant, same

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What is uploaded, and what a process may grow by meanwhile.
UPLOAD_BYTES, GROWTH_BYTES_MAX = 128 << 20, 24 << 20
WEBSOCKETS = 200


@pytest.fixture(scope="module", autouse=True)
def _deployed(volant_home: Path) -> Iterator[None]:
    clients.app.deploy()
    yield
    assert run_volant("app", "stop", "clients", home=volant_home).returncode == 0


def url_of(function: str, path: str = "") -> str:
    url = volant.Function.from_name("clients", function).get_web_url()
    assert url
    return f"{url}/{path}"


def get(url: str) -> Any:
    return httpx.get(url, timeout=WITHIN_S)


def curl(*words: str, sent: bytes | None = None) -> bytes:
    """What curl prints."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl on this machine")
    done = subprocess.run(
        ["curl", "-sS", "-q", "-m", f"{WITHIN_S:g}", *words], input=sent, capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl_uploads_when_it_is_told_to_continue(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "data").write_bytes(data)
    expected = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    words = ("-X", "POST", "-D", str(tmp_path / "heads"), url_of("site", "digest"))
    answer = curl("-T", str(tmp_path / "data"), "-H", "Expect: 100-continue", *words)
    assert json.loads(answer) == expected
    assert (tmp_path / "heads").read_text().startswith("HTTP/1.1 100 Continue")
    piped = curl("-T", "-", *words, sent=data)  # whose length nobody knows: in chunks
    assert json.loads(piped) == expected


def test_curl_gets_heads_and_parts_of_files() -> None:
    url = url_of("site", "file")
    head = curl("-I", url).decode().lower()
    assert f"content-length: {len(clients.FILE_BYTES)}\r\n" in head
    assert curl("-r", "1000-1009", url) == clients.FILE_BYTES[1000:1010]
    assert curl("-r", "-5", url) == clients.FILE_BYTES[-5:]
    both = curl("-r", "0-1,5-6", "-D", "-", url)
    assert b"206 Partial Content" in both
    assert both.count(b"Content-Range: ") == 2


def test_an_old_client_gets_a_stream_without_chunks() -> None:
    answer = curl("--http1.0", "-D", "-", url_of("site", "three"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body == b"0\n1\n2\n"


def test_many_requests_of_one_pool_are_all_answered() -> None:
    async def use() -> None:
        limits = httpx.Limits(max_connections=20)
        async with httpx.AsyncClient(timeout=WITHIN_S, limits=limits) as client:
            url = url_of("site", "digest")
            bodies = [bytes([number]) * number for number in range(200)]
            answers = await asyncio.gather(*(client.post(url, content=body) for body in bodies))
        assert [answer.json()["size"] for answer in answers] == list(range(200))

    asyncio.run(use())


def test_both_directions_stream_at_once() -> None:
    """Behaviour 112: each piece is answered before the next is sent."""
    url = httpx.URL(url_of("site", "double/"))
    with Chunked(url.host, url.port, timeout=WITHIN_S) as connection:
        connection.begin(url.path)
        connection.chunk(b"0")
        answer = connection.getresponse()
        for piece in (b"1", b"2"):
            assert answer.read1() == bytes([piece[0] - 1]) * 2
            connection.chunk(piece)
        assert answer.read1() == b"22"
        connection.chunk(b"")
        assert answer.read() == b""


def test_an_app_says_more_behind_its_body_to_who_takes_it() -> None:
    """Behaviour 112: `curl --raw` shows chunks as they are."""
    words = ("--raw", url_of("site", "summed/"))
    plain, told = curl(*words), curl("-H", "TE: trailers", *words)
    digest = hashlib.sha256(clients.FILE_BYTES).hexdigest().encode()
    assert plain.endswith(b"\r\n0\r\n\r\n")
    assert told.endswith(b"\r\n0\r\nx-sha256: " + digest + b"\r\n\r\n")


def test_curl_speaks_http_2(tmp_path: Path) -> None:
    """With prior knowledge: bodies both ways, and fields behind one, which such clients take."""
    data = os.urandom(3 << 20)
    (tmp_path / "data").write_bytes(data)
    heads = tmp_path / "heads"
    words = ("--http2-prior-knowledge", "-D", str(heads))
    answer = curl(*words, "-T", str(tmp_path / "data"), "-X", "POST", url_of("site", "digest"))
    expected = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert json.loads(answer) == expected
    assert heads.read_text().startswith("HTTP/2 200")
    assert curl(*words, url_of("site", "summed/")) == clients.FILE_BYTES
    digest = hashlib.sha256(clients.FILE_BYTES).hexdigest()
    assert f"x-sha256: {digest}" in heads.read_text()


def test_many_requests_share_a_connection() -> None:
    async def use() -> None:
        async with httpx.AsyncClient(timeout=WITHIN_S, http1=False, http2=True) as client:
            url = url_of("site", "digest")
            bodies = [bytes([number]) * 1000 * number for number in range(90)]
            answers = await asyncio.gather(*(client.post(url, content=body) for body in bodies))
        assert [answer.json()["size"] for answer in answers] == [len(body) for body in bodies]
        assert {answer.http_version for answer in answers} == {"HTTP/2"}

    asyncio.run(use())


def test_an_app_hears_that_nobody_takes_its_events() -> None:
    """Behaviour 112."""
    with httpx.stream("GET", url_of("site", "events"), timeout=WITHIN_S) as answer:
        assert next(answer.iter_lines()) == "data: here"
    eventually(lambda: "no more events" in get(url_of("site", "noted")).json(), WITHIN_S)


def test_a_form_of_any_size_passes_and_no_process_of_ours_grows(volant_home: Path) -> None:
    shown = run_volant("server", "status", "--json", home=volant_home)
    pids = {
        "gateway": json.loads(shown.stdout)["gateway"]["pid"],
        "daemon": daemon_pid(volant_home),
    }
    before = {name: _peak_bytes(pid) for name, pid in pids.items()}
    begin = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    )  # fmt: skip

    def pieces() -> Iterator[bytes]:
        yield begin
        for _ in range(UPLOAD_BYTES >> 20):
            yield bytes(1 << 20)
        yield b"\r\n--x--\r\n"

    answer = httpx.post(
        url_of("site", "form"), content=pieces(), timeout=WITHIN_S,
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )  # fmt: skip
    assert answer.json() == {"name": "a.bin", "size": UPLOAD_BYTES}
    for name, pid in pids.items():
        assert _peak_bytes(pid) - before[name] < GROWTH_BYTES_MAX, name


def _peak_bytes(pid: Any) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


@pytest.mark.parametrize("compression", ["deflate", None])
def test_messages_of_any_size_pass(compression: str | None) -> None:
    message = os.urandom(1 << 20) * 8
    with connect(
        ws_url("echo"), max_size=None, open_timeout=WITHIN_S, compression=compression
    ) as connection:
        extended = [extension.name for extension in connection.protocol.extensions]
        assert extended == (["permessage-deflate"] if compression else [])
        connection.send(message)
        assert same(connection.recv(WITHIN_S), message)
        connection.send("text")
        assert connection.recv(WITHIN_S) == "text"
        assert connection.ping(b"there?").wait(WITHIN_S)


def test_codes_of_closing_pass_both_ways() -> None:
    with connect(ws_url("echo"), open_timeout=WITHIN_S) as connection:
        connection.send("close")
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(WITHIN_S)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as you wish")
    with connect(ws_url("echo"), open_timeout=WITHIN_S) as connection:
        connection.close(3210, "enough")
    eventually(lambda: "closed by 3210" in get(url_of("site", "noted")).json(), WITHIN_S)


def test_many_websockets_are_open_at_once() -> None:
    async def speak(number: int, are_open: asyncio.Barrier) -> None:
        async with connect_async(ws_url("echo"), open_timeout=WITHIN_S) as connection:
            await are_open.wait()
            await connection.send(str(number))
            assert await connection.recv() == str(number)

    async def use() -> None:
        are_open = asyncio.Barrier(WEBSOCKETS)
        everybody = [speak(number, are_open) for number in range(WEBSOCKETS)]
        await asyncio.wait_for(asyncio.gather(*everybody), WITHIN_S)

    asyncio.run(use())


def ws_url(path: str) -> str:
    return url_of("site", path).replace("http", "ws", 1)


def test_an_app_hears_that_its_time_is_over() -> None:
    assert get(url_of("hurried")).status_code == 504
    eventually(lambda: get(url_of("hurried", "noted")).json() == ["gave up"], WITHIN_S)


@pytest.mark.parametrize("by_host", [True, False])
def test_a_browser_shows_docs_and_calls_what_they_describe(tmp_path: Path, by_host: bool) -> None:
    """Behaviour 109: by an address of either form, and from pages of any origin."""
    port = httpx.URL(url_of("add")).port
    ways = (f"http://clients-add.localhost:{port}/", f"http://127.0.0.1:{port}/clients-add/")
    url, other = ways if by_host else reversed(ways)
    with chromium(tmp_path) as page:
        page.open(f"{url}docs")
        assert page.value("document.title") == "add - Swagger UI"
        shown = page.value("document.body.innerHTML")
        described = shown.partition("url: '")[2].partition("'")[0]
        paths = page.value(f"fetch({described!r}).then(got => got.json()).then(got => got.paths)")
        assert list(paths) == ["/"]
        for address in (url, other):
            asked = f"fetch('{address}?left=40', {{headers: {{'X-Own': '1'}}}})"
            assert page.value(f"{asked}.then(got => got.json())") == {"sum": 42}
        site = url.replace("http", "ws", 1).replace("clients-add", "clients-site")
        echoed = page.value(
            f"new Promise((done) => {{ const socket = new WebSocket('{site}echo');"
            "socket.onopen = () => socket.send('there');"
            "socket.onmessage = (event) => done(event.data); })"
        )
        assert echoed == "there"


@pytest.mark.parametrize("by_host", [True, False])
def test_a_page_of_docs_sends_what_its_reader_fills_in(tmp_path: Path, by_host: bool) -> None:
    """Behaviour 109: Swagger UI itself, from the app, for others' servers are not asked here."""
    port = httpx.URL(url_of("docs")).port
    ways = (f"http://clients-docs.localhost:{port}/", f"http://127.0.0.1:{port}/clients-docs/")
    with chromium(tmp_path) as page:
        page.open(f"{ways[0 if by_host else 1]}docs")

        def click(selector: str) -> None:
            found = f"document.querySelector({selector!r})"
            eventually(lambda: page.value(f"{found} !== null"), within_s=WITHIN_S)
            page.value(f"{found}.click()")

        click(".opblock-summary-control")
        click(".try-out__btn")
        eventually(lambda: page.value("document.querySelector('td input') !== null"))
        page.value("document.querySelector('td input').focus()")
        page.command("Input.insertText", text="21")
        page.value("document.activeElement.blur()")  # until then the page waits for more
        click(".execute")
        shown = "(document.querySelector('.live-responses-table') || {}).innerText || ''"
        eventually(lambda: '"half": 10.5' in page.value(shown), within_s=WITHIN_S)
