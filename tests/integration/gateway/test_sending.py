"""How clients are sent to, and what one that takes its bytes slowly means for others."""

from __future__ import annotations

import select
import socket
import threading

import pytest

from volantd.gateway import gateway

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
MIB = 1 << 20
#: So long that nothing here waits for it.
LONG = 1000.0


@pytest.mark.parametrize("size", [64 * MIB, 64 * MIB + 100_000])
def test_what_a_client_has_not_taken_at_the_end_holds_up_nobody_else(make_stage, size):
    stage = make_stage(limits={"WRITE_BYTES_HIGH": 0, "LINGER_S": LONG, "LEASE_AGE_S": LONG})
    stage.lead = None
    client, other = stage.client(), stage.client()
    client.get()
    stage.grant(stage.event("lease")["lease"], stage.server)  # one slot for both
    server = stage.server.accept()
    server.head()
    other.get(b"/other")
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size
    sending = threading.Thread(target=server.send, args=(head + bytes(size),))
    sending.start()
    while server.sock not in select.select([server.sock, client.sock], [], [])[0]:
        assert client.sock.recv(4096)
    sending.join()
    server.head()
    server.send(OK)
    assert other.answer()[2] == b"ok"


def test_clients_of_this_machine_are_sent_to_without_pauses():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gateway.prepare(listener)
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            found = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    assert found.rstrip(b"\0") == gateway.LOCAL_CONGESTION
