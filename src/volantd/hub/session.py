"""One connection of a client, or of user code in a container: calls and requests.

Hot frames go straight to the core. Requests are answered by the functions of `requests.py`,
one for each operation. When the connection ends, everything that only this session wanted is
cancelled, and its apps are closed unless they are detached.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from hmac import compare_digest
from time import monotonic
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.channel.key import KEY_NAME
from volant.errors import Error, ExecutionError, NotFoundError
from volant.wire import frames, values
from volant.wire.faults import error_fault, platform_fault
from volant.wire.frames import HOT
from volantd.hub import checks, requests, terminals
from volantd.hub.blobs import Upload
from volantd.hub.deployed import replacing
from volantd.hub.durable import announced
from volantd.hub.durable.kept import MADE_MAX, Made
from volantd.hub.environments.record import MAIN, Environment
from volantd.hub.pools import variants
from volantd.hub.records import App, Call, Function, Held, InputItems

if TYPE_CHECKING:
    import asyncio

    from volantd.hub.hub import Hub
    from volantd.hub.peer import Peer

log = logging.getLogger(__name__)

#: Bytes queued for a session, beyond which further kept results wait to be sent.
ANSWERS_BYTES_MAX = 16 << 20
#: Of what was wrong with a message, what its sender is told.
REASON_CHARS_MAX = 300


class Session:
    """State of one connection."""

    def __init__(
        self, hub: Hub, peer: Peer, function: Function | None = None, container_id: str = ""
    ) -> None:
        """Serve a connection.

        Args:
            function: the one of the container whose user code this is; its session may do what
                the function's app may. None for a client of the machine's user.
            container_id: that container's.
        """
        self.hub = hub
        self.peer = peer
        self.container_function = function
        self.container_id = container_id
        self.container_app = None if function is None else function.app
        self.session_id = ids.new_session()
        #: As its client has told; and that environment, None until it is known to be there.
        self.environment_name = MAIN.name
        self.environment: Environment | None = (
            MAIN if function is None else function.app.environment
        )
        self.client_pid = 0
        self.apps: dict[str, App] = {}
        self.functions: dict[int, Function] = {}
        #: number of a pool that cannot be -> why
        self.refused_functions: dict[int, Error] = {}
        self.calls: dict[int, Call] = {}
        #: number of a `call_get` that waits -> call and index of the input
        self.watching: dict[int, tuple[Call, int]] = {}
        self.uploads = Upload(hub.services.blobs.directory)
        #: Where containers of this client's apps may send small results to it directly.
        self.express_fd: int | None = None
        #: Whether it may be here: a container is, a client has to show the key.
        self.trusted = function is not None
        hub.sessions.add(self)
        #: Where its containers are joined to its terminal, if it has offered that.
        self.desk: terminals.Desk | None = None
        #: Commands that it runs in containers, by the number of its request.
        self.commands: dict[int, terminals.Commanded] = {}
        #: The descriptor that came with the request being answered.
        self.request_fd: int | None = None
        #: Key of the token that was lent to it.
        self.lent_token = ""
        #: Requests about volumes that are being answered.
        self.volume_requests = 0
        #: What it has handed in that waits; and answers for it, until there is room.
        self.held = Held(None if function is None else peer)
        self.held_long = hub.durable.backlog.held_by(self.held)
        self._answers: deque[tuple[int, Call, int, bool]] = deque()
        #: Inputs that came before it was known which calls there are: flags, body, file.
        self._early: list[tuple[int, bytes, int | None]] = []
        #: What was said ahead of spawned calls, by their numbers.
        self.ahead: dict[int, announced.Ahead] = {}
        if function is not None:
            self.functions = dict(enumerate(function.app.functions.values()))
        peer.serve(self)

    @property
    def sponsor(self) -> str:
        """Of apps that this session opens: see `App.sponsor`."""
        app = self.container_app
        return "" if app is None else app.sponsor or app.name

    # -- frames

    def on_frame(self, kind: int, flags: int, body: bytes) -> None:
        """Take one frame of the client."""
        if not self.trusted:
            self._check_key(kind, body)
            return
        try:
            self._take(kind, flags, body)
        except Exception as error:
            self._say_why(error)
            raise

    def _say_why(self, error: Exception) -> None:
        """Tell a client why it is hung up on, so that it does not come back with the same."""
        what = f"{type(error).__name__}: {error}"[:REASON_CHARS_MAX]
        self.event("closing", reason=f"the daemon does not understand a message ({what})")
        self.peer.flush()

    def _take(self, kind: int, flags: int, body: bytes) -> None:
        if kind == frames.SUBMIT:
            self._on_submit(flags, body)
        elif kind == frames.RECEIVED:
            self._on_received(body)
        elif kind == frames.REQUEST:
            self.request_fd = self.peer.stream.take_fd() if flags & frames.HAS_FD else None
            try:
                self._on_request(values.decode_map(body))
            finally:
                self._close_request_fd()
        elif kind == frames.EVENT:
            fd = self.peer.stream.take_fd() if flags & frames.HAS_FD else None
            self._on_event(values.decode_map(body), fd)
        else:
            raise ValueError(f"a client sent a frame of type {kind}")

    def _check_key(self, kind: int, body: bytes) -> None:
        message = values.decode_map(body) if kind == frames.EVENT else {}
        shown = message.get("key", b"")
        if not isinstance(shown, bytes) or not compare_digest(shown, self.hub.services.key):
            self.refuse(0, platform_fault(
                "AuthError",
                "the key of the daemon was not shown, or is another daemon's",
                f"whoever connects must be able to read {KEY_NAME} in the daemon's home",
            ))  # fmt: skip
            self.peer.flush()
            raise ValueError("a client without the key")
        self.trusted = True

    def _on_received(self, body: bytes) -> None:
        for number, exec_us in frames.split_receipts(body):
            call = self.calls.get(number)
            if call is not None and call.carrier is not None:
                call.carrier.on_received(call, exec_us)

    def _on_submit(self, flags: int, body: bytes) -> None:
        if len(body) < HOT.size:
            raise ValueError("a call without its head")
        frames.check_items(body[HOT.size :], HOT.unpack_from(body)[2])
        fd = checks.payload_fd(self.peer.stream) if flags & frames.HAS_FD else None
        if (flags & frames.RETAIN and not self.hub.unfinished.opened.done()) or self._early:
            self._take_later(flags, body, fd)
        else:
            self.submit(flags, body, fd)

    def _take_later(self, flags: int, body: bytes, fd: int | None) -> None:
        """Keep inputs back until it is known which calls there are from before."""
        if not self._early:
            self.hub.unfinished.opened.add_done_callback(lambda _: self._take_early())
        self._early.append((flags, body, fd))

    def _take_early(self) -> None:
        early, self._early = self._early, []
        for flags, body, fd in early:
            if not self.peer.closed:
                self.submit(flags, body, fd)
            elif fd is not None:
                os.close(fd)
        self.hub.after_events()

    def submit(self, flags: int, body: bytes, fd: int | None) -> None:
        """Take inputs of a call; takes the descriptor over."""
        number, first, count, function_number = HOT.unpack_from(body)
        section = body[HOT.size :]
        hub, call = self.hub, self.calls.get(number)
        kept = bool(flags & frames.RETAIN) if call is None else call.retain
        held = self.held_long if kept else self.held
        items = None if fd is None else InputItems(section, count, fd, held)
        now = monotonic()
        if kept and self._keeps_back(call, flags, body, fd):
            return
        if call is None:
            if not flags & frames.OPEN:
                return  # inputs of a call that was cancelled meanwhile
            call = self._open_call(number, function_number, flags, count)
            if call is None:
                return
        known = hub.scheduler.has_call(call.call_id)
        if count and known:
            if call.retain and first > call.inputs:
                raise ValueError(f"inputs from {first} on, after {call.inputs}")
            call.inputs = max(call.inputs, first + count)
            items = items or InputItems(section, count, None, held)
            if call.function.app.output:
                hub.note_change(call.function)
            commands = hub.scheduler.submit(call.call_id, first, count, items, now)
            if commands:
                hub.apply(commands, now)
            elif call.function.options["gpu"]:
                hub.note_lack(call.function)
        if call.retain:
            closes = (self, number) if flags & frames.LAST else None
            hub.durable.accept(call, first, count, section, fd, closes=closes)
        if flags & frames.LAST:
            call.closed = True
            total = first + count
            if hub.scheduler.has_call(call.call_id):
                commands = hub.scheduler.close_call(call.call_id, total, now)
                if commands:
                    hub.apply(commands, now)

    def _keeps_back(self, call: Call | None, flags: int, body: bytes, fd: int | None) -> bool:
        """Whether inputs of a kept call are refused, or come later."""
        number, first, count, function_number = HOT.unpack_from(body)
        if call is None and not flags & frames.OPEN:
            return False
        function = self.functions.get(function_number & frames.FUNCTION_MASK)
        function = None if function is None else function.latest()
        size = len(body)
        backlog = self.hub.durable.backlog
        if backlog.refuses(self, number, call, function, first, count, size):
            return True
        return call is None and announced.has_to_wait(self, flags, body, fd)

    def _open_call(self, number: int, function_number: int, flags: int, count: int) -> Call | None:
        function = self.functions.get(function_number & frames.FUNCTION_MASK)
        if function is not None and function.successor is not None:
            function = function.latest()
        if function is None or function.function_id not in self.hub.functions:
            self._refuse_call(number, function_number & frames.FUNCTION_MASK)
            return None
        method = self.method_of(function_number, function)
        if method is None:
            self._refuse_call(number, function_number & frames.FUNCTION_MASK)
            return None
        ahead = self.ahead.get(number) if self.ahead else None
        keyed = "" if ahead is None else ahead.call_id
        call_id = keyed or ids.call_id(self.session_id, number)
        retain, stream = bool(flags & frames.RETAIN), bool(flags & frames.STREAM)
        if retain and stream:
            raise ValueError("the values of a generator cannot be kept")
        before = self.hub.calls.get(call_id)
        if before is not None and keyed:
            self.ahead.pop(number)
            self.hub.durable.acknowledge_too(before, self, number)
            return None
        if before is not None:  # spawned over a connection that was lost since: the same call
            if not before.finished:
                self.calls[number] = before
                before.session = self
            return before
        if call_id in self.hub.unfinished.recent:
            self.reply(number, {})  # it was kept and has finished, and only that was not heard
            return None
        single = count == 1 and bool(flags & frames.LAST) and not retain and not stream
        call = Call(
            call_id, number, function, self,
            method=method, retain=retain, stream=stream, single=single,
        )  # fmt: skip
        self.calls[number] = call
        self.hub.take_call(call)
        if self.container_id and not retain:
            self._note_made(call)
        return call

    def method_of(self, function_number: int, function: Function) -> int | None:
        """The method of a class that is meant, in its present version; None: it has none such."""
        method = function_number >> frames.METHOD_SHIFT
        known = self.functions[function_number & frames.FUNCTION_MASK]
        if method and method >= len(known.spec["methods"]):
            raise ValueError(f"function {function.name!r} has no method {method}")
        if known is function or not known.spec["methods"]:
            return method
        return replacing.index_of(known, method, function)

    def _refuse_call(self, number: int, function_number: int) -> None:
        error = self.refused_functions.get(function_number)
        function = self.functions.get(function_number)
        if function is not None and function.app.key in self.hub.apps:
            name, app = function.name, function.app
            error = NotFoundError(f"app {app.name!r} has no `{name}` since version {app.version}")
        if error is None:
            error = ExecutionError("the app of this function does not run any more")
        self.refuse(number, error_fault(error))

    # -- requests and events

    def _on_request(self, message: dict[str, Any]) -> None:
        number = checks.whole(message, "id")
        known = requests.HANDLERS if self.container_app is None else requests.CONTAINER_HANDLERS
        op = str(message["op"])
        handler = known.get(op)
        if handler is None:
            text = f"the hub knows no request {op[:100]!r}"
            self.refuse(number, platform_fault("InvalidError", text))
            return
        try:
            has_to_be = self.environment is None and op not in requests.ANYWHERE
            if has_to_be and not self.hub.environments.admits(self, message):
                return
            reply = handler(self, message)
        except Error as error:
            self.refuse(number, error_fault(error))
            return
        if reply is not None:
            self.reply(number, reply)

    def parent_of(self, number: int) -> tuple[str, int | None] | None:
        """Id of the call and index of the input that makes a call; None for that of a client."""
        ahead = self.ahead.pop(number, None)
        if ahead is not None and ahead.parent is not None:
            return ahead.parent
        link = self.hub.links.get(self.container_id)
        maker = None if link is None else link.maker()
        return None if maker is None else (maker[0].call_id, maker[1])

    def _note_made(self, call: Call) -> None:
        """Have a kept call remember one that its input makes, and that is not kept itself."""
        link = self.hub.links.get(self.container_id)
        maker = None if link is None else link.maker()
        if maker is not None and maker[0].retain and len(maker[0].kept.made) < MADE_MAX:
            call.made = Made(call.call_id, call.function.shown_name(call.method), maker[1])
            maker[0].kept.made.append(call.made)

    def ask_after(self, opened: asyncio.Future[None], message: dict[str, Any]) -> None:
        """Handle the request that is being handled again, later, with what came along with it."""
        fd, self.request_fd = self.request_fd, None

        def again(_: object) -> None:
            self.request_fd = fd
            try:
                self.ask_again(message)
            finally:
                self._close_request_fd()

        opened.add_done_callback(again)

    def _close_request_fd(self) -> None:
        fd, self.request_fd = self.request_fd, None
        if fd is not None:
            os.close(fd)

    def ask_again(self, message: dict[str, Any]) -> None:
        """Handle a request that could not be answered when it came."""
        if self.peer.closed:
            return
        try:
            self._on_request(message)
        except (ValueError, KeyError, TypeError) as error:
            self._say_why(error)
            self.peer.broke_protocol = True
            self.peer.close()
        self.hub.after_events()

    def reply(self, number: int, fields: dict[str, Any]) -> None:
        """Answer a request."""
        self.peer.write(frames.control(frames.REPLY, values.encode({"id": number, **fields})))

    def refuse(self, number: int, fault: bytes) -> None:
        """Answer a request or a call with an error."""
        self.reply(number, {"fault": fault})

    def event(self, op: str, **fields: object) -> None:
        """Send an event."""
        self.peer.write(frames.control(frames.EVENT, values.encode({"op": op, **fields})))

    def _on_event(self, event: dict[str, Any], fd: int | None) -> None:
        op = event["op"]
        if fd is not None:
            self._take_express_lane(op, fd)
            return
        if op == "cancel":
            self._cancel(checks.whole(event, "call"))
        elif op == "poke":
            self.reply(checks.whole(event, "call"), {})
        elif op == "credit":
            self._credit(checks.whole(event, "call"), checks.whole(event, "count"))
        elif op == "released":
            self.hub.loans.returned(self.peer, event)
        elif op == "variant":
            variants.variant(self, event)
        elif op == "upload":
            requests.upload(self, event)
        elif op == "spawning":
            announced.take(self, event)
        elif op == "terminal_left":
            terminals.terminal_left(self)
        elif op == "command_interrupt":
            terminals.command_interrupt(self, event)

    def answer_later(self, number: int, call: Call, index: int, *, wait: bool) -> None:
        """Answer a `call_get` when there is room: many small ones may ask for large results."""
        self._answers.append((number, call, index, wait))
        self.on_drained()

    def on_drained(self) -> None:
        """Answer those who asked for kept results, as far as there is room."""
        while self._answers and self.peer.queued_bytes < ANSWERS_BYTES_MAX:
            number, call, index, wait = self._answers.popleft()
            self.hub.retained.watch(self, number, call, index, wait=wait)
        self.hub.objects.reads.on_drained(self)

    def _cancel(self, number: int) -> None:
        if number in self.watching:
            self.hub.retained.unwatch(self, number)
        self.hub.queues.cancel(self, number)
        self.hub.streams.cancel(self, number)
        call = self.calls.get(number)
        if call is not None and not call.finished:
            call.session = None  # nobody waits for what is still to come
            self.hub.cancel_call(call)

    def _credit(self, number: int, count: int) -> None:
        call = self.calls.get(number)
        if call is None:
            return
        for link in self.hub.links.values():
            for key, sent in link.batches.items():
                if sent.call is call:
                    link.tell("credit", batch=key, count=count)

    def _take_express_lane(self, op: object, fd: int) -> None:
        if op != "express" or self.container_app is not None or self.express_fd is not None:
            os.close(fd)
            raise ValueError("a descriptor that was not asked for")
        self.express_fd = fd

    # -- the end

    def on_closed(self) -> None:
        """The client is gone: so is what only it wanted."""
        hub = self.hub
        hub.sessions.discard(self)
        if self.express_fd is not None:
            os.close(self.express_fd)
            self.express_fd = None
        self.uploads.close()
        if self.lent_token:
            hub.door.tokens.take_back(self.lent_token)
            hub.door.tell_tokens()
        hub.loans.forget(self.peer)
        hub.objects.session_closed(self)
        hub.dicts.files.session_closed(self)
        hub.queues.session_closed(self)
        hub.streams.session_closed(self)
        terminals.terminal_left(self)
        if self.desk is not None:
            self.desk.close()
        for command in list(self.commands.values()):
            command.hang_up()
        for number in list(self.watching):
            hub.retained.unwatch(self, number)
        for call in list(self.calls.values()):
            call.session = None
            lasting = call.retain and call.function.app.detach
            if not lasting:
                hub.cancel_call(call)
        for app in list(self.apps.values()):
            app.session = None
            if not app.detach or not hub.is_used(app):
                hub.close_app(app, "its client is gone")
            else:
                app.state = "detached"
        self.calls.clear()
        self.apps.clear()
