"""What a client, a container, or all of them together may use of the gateway."""

from __future__ import annotations

from collections.abc import Mapping

#: Bytes of a request's head, those of its target, and its fields.
HEAD_BYTES_MAX = 64 << 10
TARGET_BYTES_MAX = 16 << 10
FIELDS_MAX = 200
#: Names that a `Connection` field may list.
LISTED_NAMES_MAX = 20
#: Bytes of the line in front of a chunk, with its extensions, and of all fields behind the last.
CHUNK_LINE_BYTES_MAX = 512
TRAILER_BYTES_MAX = 16 << 10
#: Bytes of the head of a container's response, and its fields.
RESPONSE_HEAD_BYTES_MAX = 256 << 10
#: Responses of the kind 1xx ahead of a real one.
INTERIM_MAX = 100

#: A client's bytes that are kept while nobody takes them: then it is not read from.
AHEAD_BYTES_MAX = 64 << 10
#: Bytes on their way to one that takes them slowly: then the other side is not read from.
WRITE_BYTES_HIGH = 256 << 10

#: What the kernel keeps of a request on its way to a container: each time that this is full costs a
#: wait, and a container that is busy takes bodies in large pieces.
BACK_BUFFER_BYTES = 1 << 20

#: Bytes of a body that must be known to come next, for the kernel to pass them by itself; what it
#: passes at once, and at least once a client has not taken all of that.
BULK_BYTES_MIN = 128 << 10
BULK_PIPE_BYTES = 1 << 20
BULK_STEP_BYTES_MIN = 64 << 10
#: Connections of clients for which it does so for one container, whose memory holds the bytes that
#: they have not taken: up to 12 MiB for one that stops after a quick start.
BULK_CLIENTS_MAX = 4

#: Requests of one connection of HTTP/2 at once; bytes of each that may be on their way, before and
#: after its container has taken some; and bytes of all.
STREAMS_MAX = 100
STREAM_WINDOW_BYTES = (1 << 16) - 1
STREAM_WINDOW_BYTES_TAKEN = 1 << 20
WINDOW_BYTES = 1 << 20
#: Connections to one server that speaks it.
UPSTREAMS_MAX = 16
#: Bytes of such a connection that are of no body and no answered request: at once, and each second.
CONTROL_BYTES_BURST = 256 << 10
CONTROL_BYTES_RATE = 32 << 10
#: What an answer to a request gives back of them, and a frame of its body.
ANSWER_BYTES_BACK = 16 << 10
CONTROL_BYTES_BACK = 64
#: Requests of such a connection that its client may take back, at once and each second.
RESETS_BURST = 500
RESETS_RATE = 20.0

#: Connections of clients, all together, each request of one of HTTP/2 counted as well.
CONNECTIONS_MAX = 16_000
#: How long one has to be without a request, to give way to another when there are so many.
EVICTED_AFTER_S = 1.0
#: Requests of one route that wait for a container.
WAITING_MAX = 2_000
#: What a client that is turned away is told to wait.
RETRY_AFTER_S = 1

#: From the first byte of a head to its last.
HEAD_S = 10.0
#: Between two requests of a connection, and ahead of the first.
KEEP_ALIVE_S = 75.0
#: Between two pieces of a request's body, and while a client takes nothing of a response.
BODY_IDLE_S = 60.0
#: How long what a refused client still sends is read and thrown away.
DRAIN_S = 2.0
#: Between two looks at what is overdue.
SWEEP_S = 1.0

#: How long a connection to a container is kept without a request: less than servers keep theirs.
BACK_IDLE_S = 4.0
#: Idle connections to one server of a container.
BACK_IDLE_MAX = 256
#: How long a lease that no request needs is kept.
LINGER_S = 0.2
#: How long one is used before others of the machine have a chance at its container.
LEASE_AGE_S = 1.0
#: How long a lease whose container cannot be reached is kept, for the hub to find out why.
SUSPECT_S = 1.0
#: Attempts at one request, each on another lease, while nothing of it was sent on.
ATTEMPTS_MAX = 3


def change(values: Mapping[str, float]) -> None:
    """Have other limits from now on: those of a process, before it serves anybody.

    Raises:
        KeyError: for a limit that there is not.
    """
    known = globals()
    for name, value in values.items():
        if not name.isupper() or name not in known:
            raise KeyError(name)
        known[name] = value
