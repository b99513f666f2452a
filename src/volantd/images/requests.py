"""The requests about images that a client of the machine's user can make.

Each waits until the store is open, and for what takes a while; so all are answered later. None of
them is for user code in containers: what images there are is the business of the machine's user.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

from volant.errors import ConflictError, Error, InternalError, InvalidError, NotFoundError
from volant.wire.faults import error_fault
from volantd.fields import number, switch, text, whole
from volantd.images.described import KEY
from volantd.images.kept.books import wall_clock
from volantd.images.kept.names import within
from volantd.images.keys import image_id
from volantd.images.steps.lookup import ID_CHARS_MAX, published

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from volantd.agent.images import Images
    from volantd.hub.records import App, Version
    from volantd.hub.session import Session

    Check = Callable[[dict[str, Any]], object]
    Answer = Callable[[Session, dict[str, Any]], Awaitable[dict[str, Any]]]
    Handler = Callable[[Session, dict[str, Any]], None]

#: Images of one app that a client may name by their index.
INDEX_MAX = 1 << 16
#: Where in a log a client may ask for more.
OFFSET_MAX = 1 << 40
#: Of a failure that nobody thought of, what the client is told.
TOLD_CHARS_MAX = 500
#: Functions that are named where an image is told by those that it is for.
USERS_TOLD_MAX = 3


class FaultError(Exception):
    """An error that is known as bytes only: what user code raised is opaque to the daemon."""

    def __init__(self, fault: bytes) -> None:
        super().__init__()
        self.fault = fault


def later(answer: Answer, check: Check, *, images: bool = True) -> Handler:
    """The handler of a request that is checked at once, and answered when `answer` is done.

    Args:
        answer: gives the fields of the reply.
        check: raises ValueError for a message that is not what it has to be.
        images: whether the answer needs the store of images.
    """

    async def work(session: Session, message: dict[str, Any]) -> None:
        services = session.hub.services
        try:
            if images:
                await asyncio.shield(services.images.opened)
            reply = await answer(session, message)
        except FaultError as error:
            session.refuse(message["id"], error.fault)
        except Error as error:
            session.refuse(message["id"], error_fault(error))
        except (OSError, ValueError, KeyError) as error:
            problem: Error = InvalidError(f"the request could not be answered: {error}")
            session.refuse(message["id"], error_fault(problem))
        except Exception as error:
            text = f"`{answer.__name__}` failed in the daemon: {type(error).__name__}: {error}"
            problem = InternalError(text[:TOLD_CHARS_MAX], hint="`volant server logs` has more")
            session.refuse(message["id"], error_fault(problem))
            raise  # a bug of ours: it is logged
        else:
            session.reply(message["id"], reply)

    def handle(session: Session, message: dict[str, Any]) -> None:
        check(message)
        session.hub.services.tasks.start(work(session, message), answer.__name__)

    handle.__name__ = answer.__name__
    return handle


def _images(session: Session) -> Images:
    return session.hub.services.images


def _key(session: Session, message: dict[str, Any]) -> str:
    """The key of whatever has the id, or begins with the id, that a message names."""
    wanted = message["image"][: ID_CHARS_MAX + 1]
    images, prefix = _images(session), session.hub.environments.of(session, None).image_prefix
    named = images.store.names.key_of(prefix + (wanted if ":" in wanted else f"{wanted}:latest"))
    return named or images.only(wanted, images.catalogue.find(wanted) if wanted else [])


async def _prefix(session: Session, message: dict[str, Any]) -> str:
    """What names of the environment that a message means begin with in the store."""
    if message.get("environment") is not None:
        await asyncio.shield(session.hub.objects.opened)
    return session.hub.environments.asked(session, message).image_prefix


def _with_names(row: dict[str, Any], prefix: str) -> dict[str, Any]:
    """A row of an image, with its names in an environment alone."""
    return {**row, "names": within(row["names"], prefix)}


async def image_list(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Every image, those that are being built or could not be included."""
    images, prefix = _images(session), await _prefix(session, message)
    await images.measure()
    caches = sorted(images.store.caches.all().values(), key=lambda cache: cache.used_at)
    return {
        "images": [_with_names(row, prefix) for row in images.catalogue.rows(images.users())],
        "caches": [
            {"name": one.name, "size_bytes": one.size_bytes, "used_at": one.used_at}
            for one in caches
        ],
        "total_bytes": images.store.total_bytes, "limit_bytes": images.limit_bytes,
    }  # fmt: skip


async def image_inspect(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """One image in full."""
    images = _images(session)
    key, prefix = _key(session, message), await _prefix(session, message)
    found = await asyncio.to_thread(images.catalogue.inspect, key, images.users())
    return {"image": _with_names(found, prefix)}


async def image_logs(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """The next piece of an image's log, as soon as there is one if the client wants to wait."""
    images, key = _images(session), _key(session, message)
    step, offset, wait = message["step"], message["offset"], message["wait"]
    while True:
        piece = images.catalogue.log_piece(key, step, offset)
        if piece is not None:
            return {"image_id": image_id(key), **piece}
        if not wait or session.peer.closed:
            return {
                "image_id": image_id(key), "step": step, "offset": offset, "data": b"",
                "end": "building",
            }  # fmt: skip
        await images.builder.news()


async def image_prune(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Remove images that nothing uses; with `dry_run` only say which."""
    images = _images(session)
    await images.measure()
    before = wall_clock() - message["older_than_s"]
    everything, dry_run = message["all"], message["dry_run"]
    rows = {row["image_id"]: row for row in images.catalogue.rows(images.users())}
    store = images.store
    keys = images.to_prune(before=before, names_stay=not everything)
    failed = [
        key
        for key, draft in store.books.drafts.items()
        if key not in images.builder.benches and key not in store.books.entries
        and draft.started_at < before
    ]  # fmt: skip
    gone = set(keys)
    size_bytes = store.bytes_of(gone)
    caches = images.caches_to_prune(before) if everything else {}
    if not dry_run:
        store.names.delete({name for name, one in store.names.all().items() if one.key in gone})
        for key in [*keys, *failed]:
            store.books.forget(key)
            images.builder.failed.pop(key, None)
        images.sweep()
        for one in caches:
            store.clear_cache(one)
        await asyncio.to_thread(store.empty_trash)
    shown = [image_id(key) for key in [*keys, *failed]]
    return {
        "removed": [rows[one] for one in shown if one in rows],
        "steps": sum(one not in rows for one in shown), "freed_bytes": size_bytes,
        "caches": [
            {"name": one.name, "size_bytes": one.size_bytes, "used_at": one.used_at}
            for one in caches.values()
        ],
    }  # fmt: skip


async def image_delete(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Remove one image that nothing uses, with its names.

    Raises:
        ConflictError: when something uses it, or another image begins with it.
    """
    images, key = _images(session), _key(session, message)
    store = images.store
    is_begun_with = any(one.parent == key for one in store.books.entries.values())
    if is_begun_with or key not in images.to_prune(before=wall_clock(), names_stay=False):
        raise ConflictError(f"image {image_id(key)} is in use", hint="`volant image list` shows it")
    store.names.delete({name for name, one in store.names.all().items() if one.key == key})
    store.books.forget(key)
    images.sweep()
    await asyncio.to_thread(store.empty_trash)
    return {"image_id": image_id(key)}


async def image_lookup(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """The whole id of an image that is here, by its id or by a published name."""
    images = _images(session)
    if "name" in message:
        key = images.key_of_name(published(message), await _prefix(session, message))
    else:
        key = images.key_of_id(message["image_id"][: ID_CHARS_MAX + 1])
    return {"image_id": image_id(key)}


async def image_build(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Build an image of an app that this client runs; answers when it is there."""
    app = session.apps.get(message["app_id"])
    if app is None:
        raise NotFoundError(f"this client runs no app {message['app_id'][:200]!r}")
    if message["index"] >= len(app.alone):
        raise NotFoundError("that app has no such image to be built by itself")
    version = app.alone[message["index"]]
    if version.image["kind"] == "host":
        raise InvalidError("the image of this machine is not built")

    return {"image_id": await _build(session, app, version)}


async def app_images(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Build the images of an app's functions, side by side; answers when all are there.

    The app is named by a function of its: that stays the same when the daemon is started anew.
    """
    function = session.functions.get(message["function"])
    if function is None:
        raise NotFoundError("this client runs no app with such a function")
    app = function.app
    versions: dict[str, Version] = {}
    users: dict[str, list[str]] = {}
    for one in app.functions.values():
        if one.version.image["kind"] != "host":
            key = one.version.image[KEY]
            versions[key] = one.version
            users.setdefault(key, []).append(one.name)
    several = len(versions) > 1
    builds = [_build(session, app, versions[key], users[key] * several) for key in versions]
    for outcome in await asyncio.gather(*builds, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
    session.hub.services.zygotes.warm(app)
    return {}


async def _build(session: Session, app: App, version: Version, users: Sequence[str] = ()) -> str:
    """Build the image of a version, its progress shown to the client; its id.

    Args:
        session: the client.
        app: whose image it is.
        version: that has it.
        users: names of the functions that it is for, for whoever sees several images built.
    """
    began, is_here = monotonic(), True
    fields = {"app_id": app.app_id, "image_id": image_id(version.image[KEY]),
              "functions": users[:USERS_TOLD_MAX], "function_count": len(users)}  # fmt: skip

    def tell(state: str, **news: object) -> None:
        if app.output and not session.peer.closed:
            session.event("build", state=state, **fields, **news)
            session.peer.flush()

    def on_step(number: int, count: int, key: str, text: str) -> None:
        nonlocal is_here
        is_here = False
        tell("step", number=number, count=count, step_id=image_id(key), text=text)

    def say(data: bytes) -> None:
        tell("log", data=data)

    try:
        async with _images(session).use(version, say, on_step) as built:
            tell("cached" if is_here else "built", took_s=monotonic() - began)
            return built.image_id
    except BaseException:
        tell("failed", took_s=monotonic() - began)
        raise


async def image_publish(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Let a name mean an image."""
    images, name = _images(session), published(message)
    key = images.key_of_id(message["image_id"][: ID_CHARS_MAX + 1])
    images.store.names.publish(await _prefix(session, message) + name, key, wall_clock())
    return {"image_id": image_id(key), "name": name}


async def image_names(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """All published names that begin with something."""
    place, names = await _prefix(session, message), _images(session).store.names.all()
    shown = within(sorted(names), place)
    return {
        "names": [
            {"name": name, "image_id": image_id(names[place + name].key),
             "published_at": names[place + name].published_at}
            for name in shown
            if name.startswith(message["prefix"])
        ]
    }  # fmt: skip


async def image_name_delete(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Let a name mean nothing any more; its image stays until it is evicted or pruned."""
    images, name = _images(session), published(message)
    prefix = await _prefix(session, message)
    key = images.key_of_name(name, prefix)
    images.store.names.delete({prefix + name})
    return {"name": name, "image_id": image_id(key)}


def _check_logs(message: dict[str, Any]) -> None:
    text(message, "image")
    whole(message, "step", -1, INDEX_MAX)
    whole(message, "offset", 0, OFFSET_MAX)
    switch(message, "wait")


def _check_prune(message: dict[str, Any]) -> None:
    number(message, "older_than_s", 0)
    switch(message, "all")
    switch(message, "dry_run")


def _check_lookup(message: dict[str, Any]) -> None:
    if "name" in message:
        published(message)
    else:
        text(message, "image_id")


def _check_build(message: dict[str, Any]) -> None:
    text(message, "app_id")
    whole(message, "index", 0, INDEX_MAX)


def _check_publish(message: dict[str, Any]) -> None:
    text(message, "image_id")
    published(message)


#: All of them, by the names of their functions; what is wrong with a message is told at once.
HANDLERS = [
    later(answer, check)
    for answer, check in (
        (image_list, lambda message: None),
        (image_inspect, lambda message: text(message, "image")),
        (image_logs, _check_logs),
        (image_prune, _check_prune),
        (image_delete, lambda message: text(message, "image")),
        (image_lookup, _check_lookup),
        (image_build, _check_build),
        (app_images, lambda message: whole(message, "function")),
        (image_publish, _check_publish),
        (image_names, lambda message: text(message, "prefix")),
        (image_name_delete, published),
    )
]
