"""`volant curl`: a request to a web function, with a token of its own where one is needed."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import click

from volant.cli.commands.curl import sending, targets
from volant.cli.failures import BROKEN_PIPE, FAILED, Refused, silence_stdout
from volant.cli.shared import hub
from volant.cli.shared.environments import environment_option

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from typing import BinaryIO

_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
EXAMPLES = """\b
Examples:
  volant curl api/greet?name=you
  volant curl api/web/items --json '{"price": 3}' -i
  volant curl https://api-web.localhost:3000/files -T report.pdf
"""


@click.command("curl", epilog=EXAMPLES)
@click.argument("target")
@click.option("-X", "--request", "method", metavar="METHOD", help="GET, or POST with a body.")
@click.option("-H", "--header", "headers", multiple=True, metavar="LINE", help="As `Name: value`.")
@click.option(
    "-d",
    "--data",
    multiple=True,
    metavar="DATA",
    help="The body; @FILE and @- are streamed as they are. Several are joined by `&`.",
)
@click.option("--json", "json_data", metavar="DATA", help="The same, said to be JSON.")
@click.option("-T", "--upload-file", metavar="FILE", help="PUT a file, or standard input by `-`.")
@click.option("-i", "--include", is_flag=True, help="Show the head of the answer as well.")
@click.option("-I", "--head", is_flag=True, help="Ask for the head alone.")
@click.option("-o", "--output", type=click.File("wb"), metavar="FILE", help="Write the body there.")
@click.option("-f", "--fail", is_flag=True, help="Exit with 1 at a status of 400 and above.")
@click.option("-k", "--insecure", is_flag=True, help="Take whatever certificate the server has.")
@environment_option
def group(
    target: str, method: str | None, headers: tuple[str, ...], data: tuple[str, ...],
    json_data: str | None, upload_file: str | None, output: BinaryIO | None, **switches: bool,
) -> int:  # fmt: skip
    """Send a request to a web function, as curl does.

    TARGET is a URL, or app/function with whatever follows in its URL. What only answers those who
    show a token gets one that is good while the command runs.
    """
    with contextlib.ExitStack() as stack:
        body, kind = _body(stack, data, json_data, upload_file)
        sent = [_header(line) for line in headers]
        url = _address(stack, target, sent)
        if kind and "content-type" not in {name.lower() for name, _ in sent}:
            sent.append(("Content-Type", kind))
        if method is None:
            with_body = "GET" if body is None else "PUT" if upload_file else "POST"
            method = "HEAD" if switches["head"] else with_body
        answer = sending.send(url, method, sent, body, insecure=switches["insecure"])
        try:
            _show(answer, output, with_head=switches["include"] or switches["head"])
        except BrokenPipeError:  # here, for click would make another exit code of it
            silence_stdout()
            return BROKEN_PIPE
        return FAILED if switches["fail"] and answer.status >= 400 else 0


def _show(answer: HTTPResponse, output: BinaryIO | None, *, with_head: bool) -> None:
    """Write an answer as it comes: the head to standard output, the body there or to a file."""
    out = sys.stdout.buffer
    if with_head:
        out.write(sending.head_of(answer))
        out.flush()
    into = output or out
    for piece in sending.body_of(answer):
        into.write(piece)
        into.flush()


def _address(stack: contextlib.ExitStack, target: str, headers: list[tuple[str, str]]) -> str:
    """The URL that is meant; adds a token where one is wanted and none is given.

    The token is good until the stack closes the connection to the daemon.
    """
    channel = hub.open_channel()
    if channel is None:
        return targets.address_of(target, None)[0]
    stack.callback(channel.close)
    url, wants_token = targets.address_of(target, channel.request("web_list")["functions"])
    given = {name.lower() for name, _ in headers}
    if wants_token and not given & {"authorization", "volant-key", "modal-key"}:
        token: dict[str, Any] = channel.request("token_lend")
        headers += [("Volant-Key", token["key"]), ("Volant-Secret", token["secret"])]
    return url


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise Refused(f"`{line}` is no header", hint="write `Name: value`")
    return name.strip(), value.strip()


def _body(
    stack: contextlib.ExitStack, data: tuple[str, ...], json_data: str | None, upload: str | None
) -> tuple[bytes | BinaryIO | None, str]:
    """What is sent, and what it is said to be.

    Raises:
        Refused: for several bodies, and files that cannot be read.
    """
    if (bool(data) + (json_data is not None) + (upload is not None)) > 1:
        raise Refused("a request has one body", hint="use one of --data, --json and --upload-file")
    if upload is not None:
        return _file(stack, upload), ""
    if json_data is not None:
        return _part(stack, json_data), _JSON
    if len(data) == 1:
        return _part(stack, data[0]), _FORM
    parts = [_part(stack, one) for one in data]
    read = [part if isinstance(part, bytes) else part.read() for part in parts]
    return (b"&".join(read), _FORM) if data else (None, "")


def _part(stack: contextlib.ExitStack, text: str) -> bytes | BinaryIO:
    return _file(stack, text[1:]) if text.startswith("@") else text.encode()


def _file(stack: contextlib.ExitStack, path: str) -> BinaryIO:
    if path == "-":
        return sys.stdin.buffer
    try:
        return stack.enter_context(open(path, "rb"))
    except OSError as error:
        raise Refused(f"`{path}` cannot be read: {error.strerror}") from error
