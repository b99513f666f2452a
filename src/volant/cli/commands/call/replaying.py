"""`volant call replay`: runs a call again that has ended, and shows how that goes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from volant.channel.waiters import OutcomeWaiter
from volant.cli.commands.call.looking import group
from volant.cli.failures import Refused
from volant.cli.shared import show
from volant.errors import InvalidError
from volant.sdk import output
from volant.wire import frames, values
from volant.wire.faults import text_of_fault

if TYPE_CHECKING:
    from volant.channel.channel import Channel

#: How a call may be debugged; the first is what `--debug` means by itself.
DEBUG_WAYS = ("first-line", "post-mortem")
#: Characters of a result that are shown.
SHOWN_CHARS_MAX = 10_000


class _Command(click.Command):
    """Takes `--debug` without a value as well, and leaves the word behind it alone."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        meant = f"--debug={DEBUG_WAYS[0]}"
        return super().parse_args(ctx, [meant if word == "--debug" else word for word in args])


@group.command(
    "replay", cls=_Command, epilog="\b\nExamples:\n  volant call replay fc-01h2…\n"
    "  volant call replay fc-01h2… --index 17 --debug=post-mortem"
)  # fmt: skip
@click.argument("call")
@click.option("--index", type=click.IntRange(min=0), metavar="N", help="Only input N of many.")
@click.option("-d", "--detach", is_flag=True, help="Do not wait for it.")
@click.option(
    "--debug", type=click.Choice(DEBUG_WAYS), default=None,
    help="Debug it on this terminal: from the first line of its function on, as by `--debug` "
    "alone, or when it has raised. It has no time limit then.",
)  # fmt: skip
@show.json_option
def replay(call: str, index: int | None, detach: bool, debug: str | None, as_json: bool) -> int:
    """Run CALL again: the same code, image and inputs, as a new call.

    What containers print is shown, and then how it ended. The exit code is 1 if an input failed.
    """
    from volant.channel import current

    if debug and (detach or as_json):
        raise Refused("`--debug` goes neither with `--detach` nor with `--json`")
    channel = current.channel()
    output.active = printer = _Printer(all_to_stderr=as_json)
    channel.on_event = printer.on_event
    if debug:
        _offer_terminal(channel)
    begun = channel.request("call_replay", call=call, index=index, debug=debug or "", detach=detach)
    shown = {"call_id": begun["call_id"], "app_id": begun["app_id"], "replays": call}
    if detach:
        _show(shown, f"{begun['call_id']} runs {call} again", as_json=as_json)
        return 0
    if not as_json:
        print(f"{begun['call_id']} runs {call} again", file=sys.stderr, flush=True)
    printer.begin()
    faults = []
    for at in range(begun["inputs"]):
        kind, text = _outcome(channel, begun["call_id"], at)
        if kind == frames.FAULT:
            faults.append({"index": at, "text": text})
        if not as_json:
            _print_outcome(at, begun["inputs"], kind, text)
    channel.request("app_close", app_id=begun["app_id"], reason="its call has ended")
    if as_json:
        show.print_json({**shown, "inputs": begun["inputs"], "failed": len(faults),
                         "faults": faults})  # fmt: skip
    return int(bool(faults))


class _Printer(output.Output):
    """Shows what containers print.

    Args:
        all_to_stderr: because something else goes to standard output.
    """

    def __init__(self, *, all_to_stderr: bool) -> None:
        super().__init__()
        self._all_to_stderr = all_to_stderr
        #: What came before it was said what runs.
        self._early: list[tuple[str, bytes]] | None = []

    def write(self, stream: str, data: bytes) -> None:
        if self._early is None:
            super().write("stderr" if self._all_to_stderr else stream, data)
        else:
            self._early.append((stream, data))

    def begin(self) -> None:
        """Show what has come, and all else as it comes."""
        early, self._early = self._early or [], None
        for stream, data in early:
            self.write(stream, data)


def _outcome(channel: Channel, call_id: str, index: int) -> tuple[int, str]:
    """Wait for the outcome of an input; its kind, and as text what it returned or raised."""
    number = channel.next_number()
    message = {"id": number, "op": "call_get", "call": call_id, "index": index, "wait": True}
    waiter = OutcomeWaiter(frames.control(frames.REQUEST, values.encode(message)))
    channel.register(number, waiter)
    try:
        channel.send(waiter.frame)
        channel.wait(waiter)
    finally:
        channel.unregister(number)
    head = int.from_bytes(waiter.section[:4], "little")
    kind, payload = head >> 28, waiter.section[4:]
    if kind == frames.FAULT:
        return kind, text_of_fault(payload)
    ok, value = waiter.outcome(None)
    if not ok:  # its class is the program's, which is not imported here
        return kind, f"a value of {len(payload)} bytes that cannot be unpickled here"
    return kind, "" if value is None else str(value)[:SHOWN_CHARS_MAX]


def _print_outcome(index: int, count: int, kind: int, text: str) -> None:
    label = f"input {index}: " if count > 1 else ""
    if kind == frames.FAULT:
        print(f"{label}failed\n{text}", file=sys.stderr)
    elif text or label:
        print(f"{label}{text}", flush=True)


def _offer_terminal(channel: Channel) -> None:
    from volant.sdk.terminal import desk

    try:
        desk.check_terminal()
    except InvalidError as error:
        raise Refused(error.message, hint=error.hint or "") from None
    desk.offer(channel)


def _show(fields: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        show.print_json(fields)
    else:
        click.echo(text)
