"""Web functions at the hub: labels and hosts, and slots of containers lent to the gateway."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import Player, description, function_spec
from volant.errors import InvalidError, NotFoundError
from volant.wire import frames, values
from volant.wire.faults import encode_fault
from volantd.hub.peer import Peer
from volantd.hub.web.routes import slug
from volantd.hub.web.tokens import TokenBook

if TYPE_CHECKING:
    from tests.integration.hub.world import World

FORM = {
    "kind": "asgi", "label": None, "method": None, "docs": False, "port": None,
    "startup_timeout_s": None, "requires_proxy_auth": False, "custom_domains": [],
}  # fmt: skip


def web_spec(
    name: str = "f", *, form: dict[str, Any] | None = None, **given: Any
) -> dict[str, Any]:
    return {**function_spec(name, **given), "web": {**FORM, **(form or {})}}


class Gateway(Player):
    """The gateway: what the hub tells it, in order."""

    def __init__(self, world: World) -> None:
        ours, theirs = socket.socketpair()
        super().__init__(world, ours)
        self.told: list[dict[str, Any]] = []
        world.clients.add(self)
        hub = world.hub
        peer = Peer(theirs, hub.loop, hub.outgoing, hub.after_events)
        hub.door.attach(peer)
        hub.after_events()

    def on_frame(self, kind: int, flags: int, body: bytes, fd: int | None) -> None:
        assert kind == frames.EVENT
        self.told.append(values.decode_map(body))

    def news(self, *ops: str) -> list[dict[str, Any]]:
        """What it was told since it was last asked, of some kinds."""
        self.world.turn()
        told, self.told = self.told, []
        return [event for event in told if event["op"] in ops]

    def ask(
        self, lease: int, label: str = "app-f-dev", session: bytes = b"", **parameters: bytes
    ) -> None:
        self.event("lease", lease=lease, route=label, session=session, parameters=parameters)

    def release(self, lease: int) -> None:
        self.event("release", lease=lease)


@pytest.fixture
def gateway(world, tmp_path):
    world.services.machine.launcher = SimpleNamespace(run_dir=str(tmp_path))
    return Gateway(world)


# -- leases


def test_a_lease_starts_a_container_and_says_where_it_is(world, client, gateway):
    client.open(web_spec())
    gateway.ask(7)
    [granted] = gateway.news("granted", "refused")
    [row] = world.agent.rows()
    assert granted["lease"] == 7
    assert granted["container"] == row["container_id"]
    assert granted["address"].endswith(f"/web/{row['container_id']}.0.sock")
    assert row["state"] == "busy"
    assert world.containers[0].batches == []


def test_requests_never_share_a_slot(world, client, gateway):
    client.open(web_spec(max_containers=1))
    for lease in (1, 2, 3):
        gateway.ask(lease)
    assert [event["lease"] for event in gateway.news("granted")] == [1]
    gateway.release(1)
    assert [event["lease"] for event in gateway.news("granted")] == [2]
    gateway.release(3)
    gateway.release(2)
    assert gateway.news("granted", "refused", "revoked") == []
    assert len(world.hub.door.leases) == 0
    assert [row["state"] for row in world.agent.rows()] == ["idle"]


def test_a_lease_of_a_container_that_dies_is_revoked(world, client, gateway):
    client.open(web_spec(max_containers=1))
    gateway.ask(1)
    gateway.ask(2)
    gateway.news()
    world.containers[0].kill()
    news = gateway.news("revoked", "granted")
    assert [(event["op"], event["lease"]) for event in news] == [("revoked", 1), ("granted", 2)]
    gateway.release(1)
    gateway.release(2)
    world.turn()
    assert len(world.hub.door.leases) == 0


def test_a_container_that_is_preempted_gets_no_further_request(world, client, gateway):
    client.open(web_spec())
    gateway.ask(1)
    [granted] = gateway.news("granted")
    world.agent.preempt(granted["container"], "for a test")
    world.hub.after_events()
    assert [event["cut_s"] for event in gateway.news("revoked")] == [None]


def test_who_waits_for_a_function_that_does_not_load_is_told_why(world, client, gateway):
    world.starts = False
    client.open(web_spec())
    gateway.ask(1)
    world.turn()
    world.containers[0].refuse(encode_fault(ValueError("no such model")))
    [refused] = gateway.news("refused")
    assert refused["status"] == 500
    assert "ValueError: no such model" in refused["detail"]


def test_a_label_that_leads_nowhere_gives_no_lease(gateway):
    gateway.ask(1, "app-g-dev")
    assert [event["status"] for event in gateway.news("refused")] == [404]


def test_the_end_of_an_app_ends_its_leases(world, client, gateway):
    client.open(web_spec(max_containers=1))
    gateway.ask(1)
    gateway.ask(2)
    gateway.news()
    client.close()
    news = gateway.news("revoked", "refused", "unroute")
    ends = {event.get("lease"): event for event in news if "lease" in event}
    assert ends[1]["cut_s"] == 1.0
    assert ends[2]["status"] == 503
    assert [event["label"] for event in news if event["op"] == "unroute"] == ["app-f-dev"]
    assert len(world.hub.door.leases) == 0


def test_who_waits_goes_along_when_a_label_goes_to_a_newer_app(world, gateway):
    old, new = world.client(), world.client()
    old.open(web_spec(max_containers=1))
    gateway.ask(1)
    gateway.ask(2)
    gateway.news()
    new.open(web_spec(max_containers=1))
    news = gateway.news("granted", "revoked", "refused")
    assert [(event["op"], event["lease"]) for event in news] == [("revoked", 1), ("granted", 2)]
    assert news[0]["cut_s"] is None
    old.close()
    assert gateway.news("unroute", "refused") == []


def test_what_a_gateway_had_is_free_when_it_is_gone(world, client, gateway):
    client.open(web_spec(max_containers=1))
    gateway.ask(1)
    gateway.ask(2)
    gateway.news()
    gateway.close()
    world.turn()
    assert len(world.hub.door.leases) == 0
    another = Gateway(world)
    assert [event["label"] for event in another.news("route")] == ["app-f-dev"]
    another.ask(1)
    assert [event["lease"] for event in another.news("granted")] == [1]


@pytest.mark.parametrize(
    ("op", "fields"),
    [
        ("lease", {"lease": "x", "route": "app-f-dev", "session": b"", "parameters": {}}),
        ("lease", {"route": "app-f-dev", "session": b"", "parameters": {}}),
        ("lease", {"lease": 0, "route": "app-f-dev", "session": b"", "parameters": {}}),
        ("lease", {"lease": 1, "route": 2, "session": b"", "parameters": {}}),
        ("lease", {"lease": 1, "route": "app-f-dev", "session": bytes(65), "parameters": {}}),
        ("lease", {"lease": 1, "route": "app-f-dev", "session": "a", "parameters": {}}),
        ("lease", {"lease": 1, "route": "app-f-dev", "session": b"", "parameters": {"a": 1}}),
        ("lease", {"lease": 1, "route": "app-f-dev", "session": b""}),
        ("release", {}),
    ],
)
def test_a_gateway_that_makes_no_sense_is_given_up(world, client, gateway, op, fields):
    client.open(web_spec())
    gateway.event(op, **fields)
    world.turn()
    assert gateway.broken
    assert not world.escaped


# -- labels


def test_an_app_is_told_where_its_functions_are(world, client, gateway):
    world.hub.door.url_of = "http://127.0.0.1:1/{}/".format
    reply = client.request("app_open", app=description(web_spec("My_Site"), function_spec("g")))
    assert reply["urls"] == [["My_Site", None, "http://127.0.0.1:1/app-my-site-dev/"]]
    [route] = gateway.news("route")
    assert route["label"] == "app-my-site-dev"
    assert route["name"] == "My_Site"
    assert route["timeout_s"] == 300.0


def test_a_method_has_a_label_and_a_socket_of_its_own(world, client, gateway):
    methods = [
        {"name": name, "is_async": False, "is_generator": False, "web": form}
        for name, form in (("plain", None), ("page", FORM))
    ]
    client.open({**function_spec("Model"), "methods": methods})
    assert [event["label"] for event in gateway.news("route")] == ["app-model-page-dev"]
    gateway.ask(1, "app-model-page-dev")
    [granted] = gateway.news("granted")
    assert granted["address"].endswith(".1.sock")


def test_what_is_chosen_by_the_user_is_told(client, gateway):
    form = {"label": "mine", "custom_domains": ["a.example"], "requires_proxy_auth": True}
    client.open(web_spec(form=form, timeout=5, single_use_containers=True))
    [route] = gateway.news("route")
    assert route["label"] == "mine-dev"
    assert route["domains"] == ["a.example"]
    assert route["requires_proxy_auth"] is True
    assert route["single_use"] is True
    assert route["timeout_s"] == 5.0


def test_an_app_that_comes_later_has_the_label_until_it_ends(world, client, gateway):
    """Who had it is told, does not take it by a change, and has it again."""
    first = client.open(web_spec())
    other = world.client()
    second = other.open(web_spec())
    world.turn()
    [notice] = [event["text"] for event in client.events if event["op"] == "notice"]
    assert notice == (
        "`f` is not reached at `app-f-dev` any more: app `app` "
        f"({second}), which began later, has that label until it ends"
    )
    staged = client.request(
        "app_open", app=description(web_spec(env={"V": "2"}), base=1 << 17), staged=True
    )["app_id"]
    assert client.request("app_update", app_id=first, staged=staged)["urls"] == []
    claims = world.hub.door.routes.claims
    assert claims["app-f-dev"].function.app.app_id == second
    other.close()
    world.turn()
    assert claims["app-f-dev"].function.app.app_id == first
    assert claims["app-f-dev"].function.options["env"] == {"V": "2"}
    assert client.events[-1]["text"] == "reached at `app-f-dev` again"
    assert len(world.hub.apps[first].urls) == 1


def test_of_several_who_lost_a_label_the_last_has_it_again(world, gateway):
    clients = [world.client() for _ in range(3)]
    ids = [client.open(web_spec()) for client in clients]
    clients[2].close()
    world.turn()
    assert world.hub.door.routes.claims["app-f-dev"].function.app.app_id == ids[1]
    clients[0].close()
    world.turn()
    assert world.hub.door.routes.claims["app-f-dev"].function.app.app_id == ids[1]


def test_a_label_that_its_loser_does_not_want_any_more_is_not_given_back(world, client, gateway):
    first = client.open(web_spec())
    other = world.client()
    other.open(web_spec())
    staged = client.request("app_open", app=description(web_spec("g"), base=1 << 17), staged=True)[
        "app_id"
    ]
    client.request("app_update", app_id=first, staged=staged)
    other.close()
    world.turn()
    assert list(world.hub.door.routes.claims) == ["app-g-dev"]
    assert not [event for event in client.events if "again" in event.get("text", "")]


def test_an_app_that_a_container_opens_takes_no_label_from_others(world, client, gateway):
    client.open(web_spec(), function_spec("g"))
    client.call(function=(1 << 16) + 1)
    world.turn()
    user = world.containers[0].user
    user.hello()
    user.open(web_spec(form={"custom_domains": ["a.example"]}), web_spec("h"), base=1 << 17)
    routes = gateway.news("route")
    assert [(route["label"], route["domains"]) for route in routes][-1] == ("app-h-dev", [])
    holder = world.hub.door.routes.claims["app-f-dev"].function.app
    assert holder.session is not None
    assert holder.session.container_app is None


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("App-my_function", "app-my-function"),
        ("a..b", "a-b"),
        ("--a--", "a"),
        ("Grüße", "gr-e"),
        ("___", "app"),
    ],
)
def test_a_label_is_part_of_a_host_name(text, label):
    assert slug(text) == label


def test_a_long_label_is_cut_and_still_its_own():
    one, other = slug("a" * 100), slug("a" * 101)
    assert len(one) == len(other) == 63
    assert one != other
    assert one.startswith("a" * 56 + "-")


# -- tokens


def test_tokens_are_made_listed_and_revoked(world, client, gateway):
    reply = client.request("token_create", name="ci")
    [told] = gateway.news("tokens")[-1:]
    assert list(told["hashes"]) == [reply["key"]]
    assert reply["secret"].startswith("ws-")
    [row] = client.request("token_list")["tokens"]
    assert (row["key"], row["name"]) == (reply["key"], "ci")
    path = world.home / "tokens.json"
    assert reply["secret"] not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert TokenBook(str(world.home)).hashes() == told["hashes"]
    client.request("token_revoke", key=reply["key"])
    assert gateway.news("tokens")[-1]["hashes"] == {}
    with pytest.raises(NotFoundError):
        world.hub.door.tokens.revoke("wk-none")


@pytest.mark.parametrize("name", ["a" * 101, "a\nb"])
def test_a_token_has_a_name_to_show(world, name):
    with pytest.raises(InvalidError):
        world.hub.door.tokens.create(name)


def test_a_token_that_is_lent_ends_with_its_client(world, client, gateway):
    first = client.request("token_lend")
    second = client.request("token_lend")
    assert first["key"] != second["key"]
    assert list(gateway.news("tokens")[-1]["hashes"]) == [second["key"]]
    assert client.request("token_list")["tokens"] == []
    assert not (world.home / "tokens.json").exists()
    client.close()
    world.turn()
    assert gateway.news("tokens")[-1]["hashes"] == {}


def test_user_code_in_a_container_has_no_say_about_tokens(world, client):
    client.open()
    client.call()
    world.turn()
    user = world.containers[0].user
    user.hello()
    for op, fields in (("token_create", {"name": "x"}), ("token_lend", {}), ("web_list", {})):
        number = user.ask(op, **fields)
        world.turn()
        with pytest.raises(InvalidError, match="no request"):
            user.reply(number)
