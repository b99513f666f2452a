"""Servers as their clients meet them: real programs on real ports, through the gateway."""

from __future__ import annotations

import http.client
import json
import pickle
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import volant
from tests.behaviours.apps import serving
from tests.behaviours.programs import WITHIN_S, containers
from tests.support import eventually, run_volant
from volant.errors import InvalidError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with serving.app.run():
        yield


def get(url: str, **headers: str) -> httpx.Response:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(url, timeout=WITHIN_S, headers=fields)


def url_of(server: Any) -> str:
    return f"{server.get_url()}/"


def up(server: Any) -> str:
    """The address of a server, once it answers."""
    url = url_of(server)
    eventually(lambda: get(url).status_code == 200, within_s=WITHIN_S)
    return url


class Slow(http.client.HTTPConnection):
    """A request that lasts until its last byte is sent."""

    def __init__(self, url: str) -> None:
        parts = httpx.URL(url)
        super().__init__(parts.host, parts.port, timeout=WITHIN_S)
        self.putrequest("POST", parts.path)
        self.putheader("Content-Length", "1")
        self.endheaders()

    def finish(self) -> bytes:
        """What it is answered."""
        self.send(b"x")
        response = self.getresponse()
        assert response.status == 200, response.read()
        body = response.read()
        self.close()
        return body


def test_147_a_server_at_zero_answers_503_and_starts(volant_home: Path) -> None:
    """Behaviour 147."""
    assert containers(volant_home, function="Asleep") == []
    response = get(url_of(serving.Asleep))
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    up(serving.Asleep)
    assert len(containers(volant_home, function="Asleep")) == 1
    began = time.time() - WITHIN_S
    [starts, listens] = serving.Asleep.logs.tail(2, source="stdout")
    assert (starts.message, listens.message) == ("it starts", "and listens")
    assert listens.object_id == serving.Asleep.object_id
    assert listens.context_ids[1].startswith("ta-")
    found = serving.Asleep.logs.fetch(since=began, search_text="listens")
    assert [entry.timestamp for entry in found] == [listens.timestamp]
    assert serving.Asleep.logs.fetch(since=0, until=starts.timestamp.timestamp() - 60) == []
    stats = serving.Asleep.stats()
    assert stats.requests[503] >= 1
    assert stats.requests[200] == 1
    assert 0 < stats.latency_p50_s <= stats.latency_p99_s < WITHIN_S


def test_147_requests_of_a_session_go_to_one_container() -> None:
    """Behaviour 147."""
    url = up(serving.Pair)
    eventually(lambda: serving.Pair.get_current_stats().input_headroom > 1000, within_s=WITHIN_S)
    names = [f"s{at}" for at in range(8)]
    first = {name: get(url, Volant_Session_Id=name).text for name in names}
    assert len(set(first.values())) == 2
    for _ in range(3):
        assert {name: get(url, mODAL_session_ID=name).text for name in names} == first


def test_a_request_above_the_maximum_is_answered_429(volant_home: Path) -> None:
    url = up(serving.Narrow)
    slow = Slow(url)
    eventually(lambda: get(url).status_code == 429, within_s=WITHIN_S)
    serving.Narrow.update_autoscaler(max_containers=2)
    eventually(lambda: get(url).status_code == 200, within_s=WITHIN_S)
    assert len(containers(volant_home, function="Narrow")) == 2
    assert slow.finish().startswith(b"ta-")


def test_a_server_says_what_it_is() -> None:
    info = serving.Pair.info()
    assert (info.name, info.url) == ("Pair", serving.Pair.get_url())
    assert info.object_id == serving.Pair.object_id
    settings = serving.Pair.autoscaler.settings()
    assert (settings.min_containers, settings.target_concurrency) == (2, None)
    assert settings.scaleup_window == 0.0
    changed = serving.Pair.update_autoscaler(target_concurrency=7.5, scaleup_window=3)
    assert (changed.target_concurrency, changed.scaleup_window) == (7, 3.0)


def test_a_deployed_server_is_found_by_its_name() -> None:
    serving.lasting.deploy()
    try:
        found = volant.Server.from_name("serving-lasting", "Lasting")
        assert found.hydrate() is found
        assert get(up(found)).text.startswith("ta-")
        assert found.info().object_id == serving.Lasting.object_id
        assert pickle.loads(pickle.dumps(found)).get_url() == found.get_url()
        by_id = volant.Server.from_id(str(found.object_id))
        assert by_id.info() == found.info()
        assert pickle.loads(pickle.dumps(by_id)).get_url() == found.get_url()
        before = get(url_of(found), Volant_Session_Id="a").text
        serving.lasting.deploy(tag="again", strategy="rolling")
        assert get(url_of(found), Volant_Session_Id="a").text == before
    finally:
        serving.lasting.stop()


def test_who_has_no_token_starts_no_server(volant_home: Path) -> None:
    url = url_of(serving.Closed)
    assert get(url).status_code == 401
    assert containers(volant_home, function="Closed") == []
    made = json.loads(run_volant("token", "create", "t", "--json", home=volant_home).stdout)
    token = {"Modal_Key": made["key"], "Modal_Secret": made["secret"]}
    eventually(lambda: get(url, **token).status_code == 200, within_s=WITHIN_S)
    assert get(url).status_code == 401


def test_113_a_server_that_does_not_listen_is_told_to_its_clients() -> None:
    """Behaviour 113."""
    url = url_of(serving.Silent)
    text = "nothing listens on port 8305 after 0.2 s"
    eventually(lambda: text in get(url).text, within_s=WITHIN_S)
    assert get(url).status_code == 503


def test_113_containers_of_a_web_server_listen_at_one_port_side_by_side(volant_home: Path) -> None:
    """Behaviour 113."""
    serving.threefold.update_autoscaler(min_containers=3)
    url = str(serving.threefold.get_web_url())
    slow = [Slow(url) for _ in range(3)]

    def are_busy() -> bool:
        states = [row["state"] for row in containers(volant_home, function="threefold")]
        return states == ["busy"] * 3

    eventually(are_busy, within_s=WITHIN_S)
    ids = {request.finish().decode() for request in slow}
    assert ids == {row["container_id"] for row in containers(volant_home, function="threefold")}
    assert len(ids) == 3


@pytest.mark.parametrize("http2", [True, False])
def test_a_server_of_http_2_is_asked_by_clients_of_either_version(http2: bool) -> None:
    url = up(serving.Newer)
    with httpx.Client(http1=not http2, http2=http2, timeout=WITHIN_S) as client:
        for size in (0, 1, 10_000):
            answer = client.post(url, content=bytes(size))
            assert answer.content == bytes(size)
            assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")


def test_requests_finish_then_the_program_is_asked_to_end_then_hooks_run(
    capfd: pytest.CaptureFixture[str],
) -> None:
    ended = threading.Event()

    def close() -> None:
        context.__exit__(None, None, None)
        ended.set()

    with volant.enable_output():
        context = serving.ending.run()
        context.__enter__()
        url = up(serving.Draining)
        stats = serving.Draining.get_current_stats
        eventually(lambda: stats().num_running_inputs == 0)
        slow = Slow(url)
        eventually(lambda: stats().num_running_inputs > 0)
        threading.Thread(target=close).start()
        eventually(lambda: get(url).status_code == 404, within_s=WITHIN_S)
        assert slow.finish().startswith(b"ta-")
        assert ended.wait(WITHIN_S)
    printed = capfd.readouterr().out
    assert printed.index("asked to end") < printed.index("it ended with 7")


def test_a_server_whose_program_has_died_is_replaced(volant_home: Path) -> None:
    url = up(serving.Mortal)
    before = get(url).text
    httpx.post(url, content=b"end", timeout=WITHIN_S)
    eventually(lambda: get(url).status_code != 200, within_s=WITHIN_S)
    eventually(lambda: get(url).text.startswith("ta-"), within_s=WITHIN_S)
    assert get(url).text != before
    assert containers(volant_home, function="Mortal") != []


def test_147_each_session_that_was_started_has_a_container_to_itself(volant_home: Path) -> None:
    """Behaviour 147."""
    url = url_of(serving.Owned)
    assert get(url, Volant_Session_Id="nobody").status_code == 404
    assert containers(volant_home, function="Owned") == []
    sessions = [serving.Owned.sessions.start() for _ in range(2)]
    answers = [get(url, Volant_Session_Id=session.session_id) for session in sessions]
    assert [answer.status_code for answer in answers] == [200, 200]
    ids = [answer.text for answer in answers]
    assert sorted(ids) == sorted(
        row["container_id"] for row in containers(volant_home, function="Owned")
    )
    assert get(url, Modal_Session_ID=sessions[0].session_id).text == ids[0]
    assert repr(sessions[0]).endswith("token=...)")
    for session in sessions:
        serving.Owned.sessions.terminate(session.token)
        assert get(url, Volant_Session_Id=session.session_id).status_code == 404
    with pytest.raises(NotFoundError, match="no session of `Owned`"):
        serving.Owned.sessions.terminate(sessions[0].token)
    eventually(lambda: containers(volant_home, function="Owned") == [], within_s=WITHIN_S)
    another = serving.Owned.sessions.start(idle_timeout=1)
    assert get(url, Volant_Session_Id=another.session_id).text not in ids
    eventually(lambda: containers(volant_home, function="Owned") == [], within_s=WITHIN_S)


def test_a_server_without_sessions_says_so() -> None:
    with pytest.raises(InvalidError, match="`Pair` has no sessions"):
        serving.Pair.sessions.start()
