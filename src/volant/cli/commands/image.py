"""`volant image`: the images of this machine, what they are made of, and what their steps said."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any

import click

from volant.cli import failures
from volant.cli.commands.root import Group
from volant.cli.shared import hub, show
from volant.cli.shared.environments import environment_option
from volant.errors import NotFoundError
from volant.sdk.images import checks
from volant.sdk.images.built.logs import pieces

if TYPE_CHECKING:
    from collections.abc import Iterable

    from volant.channel.channel import Channel

_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@click.group(cls=Group, epilog="\b\nExample:\n  volant image list")
def group() -> None:
    """Images that were built on this machine."""


@group.command("list", epilog="\b\nExample:\n  volant image list --json")
@show.json_option
@environment_option
def list_images(as_json: bool) -> None:
    """List images, the newest last: what they are, who uses them, what they take up.

    Own bytes become free when the image goes, shared ones belong to others as well. What build
    steps keep for later ones is told below.
    """
    reply = _ask("image_list")
    if as_json:
        show.print_json(reply["images"])
        return
    rows = [
        {
            **one, "created": _ago(one["created_at"]), "used": _ago(one["used_at"]),
            "own": show.memory(one["own_bytes"]), "shared": show.memory(one["shared_bytes"]),
        }
        for one in reply["images"]
    ]  # fmt: skip
    columns = ("image_id", "base", "steps", "names", "apps", "created", "used", "own", "shared",
               "state")  # fmt: skip
    show.print_table(rows, columns, "no images")
    _tell_caches("caches:", reply["caches"])
    total, limit = show.memory(reply["total_bytes"]), show.memory(reply["limit_bytes"])
    print(f"{total} in all; beyond {limit} the least recently used go", file=sys.stderr)


def _tell_caches(what: str, caches: list[dict[str, Any]]) -> None:
    """Say what caches there are, and what becomes free when they go."""
    if caches:
        told = [f"{one['name']} ({show.memory(one['size_bytes'])})" for one in caches]
        print(what, ", ".join(told), file=sys.stderr)


@group.command("inspect", epilog="\b\nExample:\n  volant image inspect im-6f1c2a9b")
@click.argument("image")
@show.json_option
@environment_option
def inspect(image: str, as_json: bool) -> None:
    """Show the steps, layers and settings of IMAGE: an id, its beginning, or a published name."""
    channel = _channel()
    found = _about(channel, "image_inspect", image)["image"]
    channel.close()
    if as_json:
        show.print_json(found)
        return
    steps, layers = found.pop("steps"), found.pop("layers", None)
    for name in ("created_at", "used_at"):
        moment = found.pop(name)
        found[name.removesuffix("_at")] = None if moment is None else show.moment_text(moment)
    if "size_bytes" in found:
        found["size"] = show.memory(found.pop("size_bytes"))
    if found["error"] is None:
        del found["error"]
    show.print_fields(found)
    print()
    rows = [
        {"step": number, **step, "size": show.memory(step["size_bytes"])}
        for number, step in enumerate(steps, 1)
    ]
    show.print_table(rows, ("step", "image_id", "text", "layers", "size", "state"), "")
    if layers:
        print()
        rows = [{"layer": one["id"], "size": show.memory(one["size_bytes"])} for one in layers]
        show.print_table(rows, ("layer", "size"), "")


@group.command("logs", epilog="\b\nExample:\n  volant image logs im-6f1c2a9b --follow")
@click.argument("image")
@click.option("-f", "--follow", is_flag=True, help="Go on while it is being built.")
@click.option(
    "-n", "--tail", type=click.IntRange(min=0), metavar="N",
    help="Show the last N lines; all by default.",
)  # fmt: skip
@show.json_option
@environment_option
def logs(image: str, follow: bool, tail: int | None, as_json: bool) -> None:
    """Show what the steps of IMAGE printed, in order; also of a build that failed or goes on.

    IMAGE is an id, its beginning, or a published name.
    """
    channel = _channel()
    try:
        _print_log(channel, _whole_id(channel, image), follow, tail, as_json=as_json)
    except KeyboardInterrupt:
        pass  # how one stops following
    channel.close()


def _print_log(
    channel: Channel, image_id: str, follow: bool, tail: int | None, *, as_json: bool
) -> None:
    line = _json_line if as_json else _plain_line
    if tail is not None:
        last: deque[Any] = deque(maxlen=tail)
        came = list(pieces(channel, image_id, wait=False))
        last.extend(_lines(came))
        for one in last:
            line(*one)
        if not follow or came[-1]["end"] != "building":
            return
        for one in _lines(pieces(channel, image_id, wait=True), after=came):
            line(*one)
        return
    for one in _lines(pieces(channel, image_id, wait=follow)):
        line(*one)


def _lines(
    came: Iterable[dict[str, Any]], after: list[dict[str, Any]] | None = None
) -> Iterable[tuple[dict[str, Any], bytes]]:
    """Whole lines and the step that each is of; a step begins with a line of its own.

    Args:
        came: pieces of a log, from its beginning.
        after: pieces that were there before: what these hold is left out.
    """
    skipped = sum(1 for _ in _lines(after)) if after else 0
    step: dict[str, Any] = {}
    rest = b""
    count = 0
    for piece in came:
        found: list[tuple[dict[str, Any], bytes]] = []
        if "begins" in piece or "end" in piece:
            found += [(step, rest)] if rest else []
            rest = b""
        if "begins" in piece:
            step = piece["begins"]
            words = f"volant: step {step['number']} of {step['count']}: {step['text']}"
            found.append((step, words.encode()))
        *whole, rest = (rest + piece["data"]).split(b"\n")
        for one in [*found, *((step, line) for line in whole)]:
            count += 1
            if count > skipped:
                yield one


def _plain_line(step: dict[str, Any], line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.flush()


def _json_line(step: dict[str, Any], line: bytes) -> None:
    show.print_json_line({"image_id": step["image_id"], "step": step["number"], "text": line})


@group.command(
    "prune", short_help="Remove images that nothing uses.",
    epilog="\b\nExamples:\n  volant image prune --older-than 7d\n  volant image prune --dry-run",
)  # fmt: skip
@click.option(
    "--all", "everything", is_flag=True, help="Also those with published names, and caches."
)
@click.option("--older-than", metavar="AGE", help="Only what was not used for so long: 30m, 7d.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask; only --all does.")
@show.json_option
def prune(
    everything: bool, older_than: str | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Remove images that nothing uses and that have no name, with the steps that only they have.

    What runs, what an app that runs may need, and what is being built always stays.
    """
    age_s = 0.0 if older_than is None else age_in_seconds(older_than)
    if everything and not dry_run and not yes:
        _confirm()
    reply = _ask("image_prune", all=everything, dry_run=dry_run, older_than_s=age_s)
    if as_json:
        show.print_json({
            "removed": [row["image_id"] for row in reply["removed"]],
            "freed_bytes": reply["freed_bytes"],
            "caches": reply["caches"],
        })  # fmt: skip
        return
    for row in reply["removed"]:
        click.echo(f"{row['image_id']}  {', '.join(row['names']) or row['base']}")
    verb = "would free" if dry_run else "freed"
    print(
        f"{len(reply['removed'])} images and {reply['steps']} steps of them: "
        f"{verb} {show.memory(reply['freed_bytes'])}",
        file=sys.stderr,
    )
    _tell_caches(f"and {verb} caches:", reply["caches"])


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise failures.Refused(
            "`--all` removes published images, and there is nobody to ask",
            hint="`--yes` says that they may go",
        )
    if not click.confirm("Remove published images that nothing uses, too?", err=True):
        raise failures.Refused("nothing was removed")


def age_in_seconds(age: str) -> float:
    """A duration such as `30m`, `12h` or `7d`, in seconds.

    Raises:
        Refused: for anything else.
    """
    unit = _AGES.get(age[-1:])
    try:
        seconds = float(age[:-1]) * unit if unit is not None else -1.0
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 1e11:
        raise failures.Refused(
            f"`--older-than {age}` is no age",
            hint=f"write a number and one of {', '.join(_AGES)}, such as 12h or 7d",
        )
    return seconds


# -- names


@group.group("names", cls=Group, epilog="\b\nExample:\n  volant image names list")
def names() -> None:
    """Published names of images."""


@names.command("list", epilog="\b\nExample:\n  volant image names list --prefix base")
@click.option("--prefix", default="", help="Only names that begin so.")
@show.json_option
@environment_option
def list_names(prefix: str, as_json: bool) -> None:
    """List published names and the images that they mean."""
    found = _ask("image_names", prefix=prefix)["names"]
    if as_json:
        show.print_json(found)
        return
    rows = [{**one, "published": show.age(one["published_at"])} for one in found]
    show.print_table(rows, ("name", "image_id", "published"), "no published names")


@names.command("delete", epilog="\b\nExample:\n  volant image names delete base:2")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask; nothing is asked.")
@environment_option
def delete_name(name: str, yes: bool) -> None:
    """Delete NAME, as name or name:tag; its image stays until it is pruned or evicted."""
    word, tag = checks.published_name(name)
    channel = _channel()
    try:
        reply = channel.request("image_name_delete", name=word, tag=tag)
    except NotFoundError as error:
        known = [one["name"] for one in channel.request("image_names", prefix="")["names"]]
        hint = failures.did_you_mean(f"{word}:{tag}", known)
        raise failures.Refused(error.message, hint=hint or str(error.hint)) from error
    finally:
        channel.close()
    click.echo(f"deleted {reply['name']}, which was {reply['image_id']}")


# -- asking


def _ago(moment: float | None) -> str | None:
    return None if moment is None else show.age(moment)


def _channel() -> Channel:
    channel = hub.open_channel()
    if channel is None:
        raise failures.Refused(
            "images are shown by the server, which is not running",
            hint="`volant server start` starts it",
            exit_code=failures.SERVICE,
        )
    return channel


def _ask(op: str, **fields: object) -> dict[str, Any]:
    channel = _channel()
    try:
        return channel.request(op, **fields)
    finally:
        channel.close()


def _about(channel: Channel, op: str, image: str, **fields: object) -> dict[str, Any]:
    """Ask about one image.

    Raises:
        Refused: with what is close, when there is none.
    """
    try:
        return channel.request(op, image=image, **fields)
    except NotFoundError as error:
        rows = channel.request("image_list")["images"]
        known = [row["image_id"] for row in rows] + [name for row in rows for name in row["names"]]
        hint = failures.did_you_mean(image, known) or str(error.hint)
        raise failures.Refused(error.message, hint=hint) from error


def _whole_id(channel: Channel, image: str) -> str:
    reply = _about(channel, "image_logs", image, step=-1, offset=0, wait=False)
    return str(reply["image_id"])
