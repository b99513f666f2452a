"""What the hub says of images: when the store is open, to whom, and what is looked up for good."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.hub.players import description, function_spec
from tests.integration.hub.test_objects import asked
from volant.errors import InvalidError, NotFoundError
from volantd.images.kept.books import Record
from volantd.images.keys import image_id

if TYPE_CHECKING:
    from tests.integration.hub.world import Client, World

KEYS = ["a" * 64, "ab" * 32]
IDS = [image_id(key) for key in KEYS]


def built(*steps: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "built", "steps": list(steps), "attached": [], "contents": {}, "secrets": {},
    }  # fmt: skip


def described(image: dict[str, Any]) -> dict[str, Any]:
    """An app that only has an image."""
    return {**description(images=[image]), "functions": []}


def open_store(world: World, *keys: str) -> None:
    """A store with images of no layers."""
    images = world.services.images
    images.store.open()
    for key in keys:
        images.store.books.begin(key, {"kind": "scratch"}, None).close()
        images.store.books.finish(key, Record())
    images.opened.set_result(None)
    world.turn()


def log_of(world: World, key: str) -> Path:
    return Path(world.services.images.store.books.log_path(key))


def test_who_asks_before_the_store_is_open_is_answered_then(world: World, client: Client):
    number = client.ask("image_list")
    opening = client.ask("app_open", app=described(built({"kind": "id", "image_id": IDS[0]})))
    world.turn()
    assert not client.replies.keys() & {number, opening}
    open_store(world, *KEYS)
    rows = client.reply(number)["images"]
    assert [row["image_id"] for row in rows] == IDS
    assert client.reply(opening)["images"] == [IDS[0]]


def test_the_base_of_an_app_is_looked_up_for_good(world: World, client: Client):
    open_store(world, *KEYS)
    client.request("image_publish", image_id=IDS[0], name="base", tag="1")
    step = {"kind": "env", "variables": {"A": "1"}}
    reply = client.request(
        "app_open", app=described(built({"kind": "name", "name": "base", "tag": "1"}, step))
    )
    client.request("image_publish", image_id=IDS[1], name="base", tag="1")
    app = world.hub.apps[reply["app_id"]]
    assert app.images[0]["steps"][0] == {"kind": "id", "key": KEYS[0]}
    by_id = client.request(
        "app_open", app=described(built({"kind": "id", "image_id": IDS[0]}, step))
    )
    assert by_id["images"] == reply["images"], "the same steps on the same image"


def test_what_is_not_there_or_not_clear_is_refused(world: World, client: Client):
    open_store(world, *KEYS)
    for step, error in (
        ({"kind": "id", "image_id": "im-ff"}, NotFoundError),
        ({"kind": "id", "image_id": "im-a"}, InvalidError),
        ({"kind": "name", "name": "base", "tag": "1"}, NotFoundError),
    ):
        with pytest.raises(error):
            client.request("app_open", app=described(built(step)))
    assert world.hub.apps == {}
    for image in ("", "im-", "im-ff", "base"):
        with pytest.raises((NotFoundError, InvalidError)):
            client.request("image_inspect", image=image)
    with pytest.raises(NotFoundError, match="runs no app"):
        client.request("image_build", app_id="ap-1", index=0)
    app_id = client.request("app_open", app=described(built({"kind": "id", "image_id": IDS[0]})))
    with pytest.raises(NotFoundError, match="no such image"):
        client.request("image_build", app_id=app_id["app_id"], index=1)


def test_a_log_comes_piece_by_piece(world: World, client: Client):
    open_store(world, *KEYS)
    log_of(world, KEYS[0]).write_bytes(b"x" * 300_000)
    first = client.request("image_logs", image=IDS[0], step=-1, offset=0, wait=True)
    assert first["begins"]["number"] == 1
    place = {"image": IDS[0], "wait": True}
    one = client.request("image_logs", step=0, offset=0, **place)
    two = client.request("image_logs", step=0, offset=one["offset"], **place)
    assert one["data"] + two["data"] == b"x" * 300_000
    assert client.request("image_logs", step=0, offset=two["offset"], **place)["end"] == "built"
    beyond = client.request("image_logs", step=0, offset=1 << 39, **place)
    assert (beyond["data"], beyond["end"]) == (b"", "built")
    assert client.request("image_logs", step=99, offset=0, **place)["end"] == "built"


def test_a_store_that_cannot_be_opened_is_told_to_who_asks(world: World, client: Client):
    images = world.services.images
    Path(world.home, "images").write_text("no directory")
    world.loop.run_until_complete(images.open())
    with pytest.raises(Exception, match="the images of this daemon cannot be used"):
        client.request("image_list")
    with pytest.raises(Exception, match="the images of this daemon cannot be used"):
        client.request("app_open", app=described(built({"kind": "id", "image_id": IDS[0]})))
    os.unlink(Path(world.home, "images"))


def test_user_code_in_a_container_learns_nothing_of_images(world: World, client: Client):
    open_store(world, *KEYS)
    world.serve = lambda x: x
    client.open(function_spec())
    client.submit([1])
    world.turn()
    user = world.containers[0].user
    user.hello()
    for op in ("image_list", "image_build", "image_prune", "image_lookup"):
        with pytest.raises(InvalidError, match="knows no request"):
            user.request(op)


def test_a_name_of_one_environment_is_another_in_the_next(world: World, client: Client):
    open_store(world, *KEYS)
    fields = {"name": "staging", "allow_existing": False, "ticket": ["0123456789abcdef", 0, 1]}
    asked(client, "environment_create", **fields)
    for one, environment in ((IDS[0], None), (IDS[1], "staging")):
        asked(
            client, "image_publish", image_id=one, name="base", tag="1",
            environment=environment,
        )  # fmt: skip

    def base_of(place: str | None, **fields: str) -> list[str]:
        app = described(built({"kind": "name", "name": "base", "tag": "1", **fields}))
        found: list[str] = asked(client, "app_open", app=app, environment=place)["images"]
        return found

    assert (base_of(None), base_of("staging")) == ([IDS[0]], [IDS[1]])
    assert base_of(None, environment="staging") == [IDS[1]]
    with pytest.raises(NotFoundError, match="there is no environment 'nowhere'"):
        base_of(None, environment="nowhere")
    [there] = asked(client, "image_names", prefix="", environment="staging")["names"]
    assert (there["name"], there["image_id"]) == ("base:1", IDS[1])
    rows = {row["image_id"]: row["names"] for row in asked(client, "image_list")["images"]}
    assert rows == {IDS[0]: ["base:1"], IDS[1]: []}
    asked(client, "environment_delete", name="staging", force=True)
    assert list(world.services.images.store.names.all()) == ["base:1"]
