"""However a request to a sandbox is written: without a token it is refused, none gets through."""

from __future__ import annotations

import hashlib

from hypothesis import given, strategies as st

from volantd.gateway.heads import RefusedError, read_request
from volantd.gateway.leading.admitting import Way

TOKEN = b"abcdefgh"
WAY = Way({
    "address": "", "container": "", "networks": None,
    "tokens": [[hashlib.sha256(TOKEN).digest(), "guest"]],
})  # fmt: skip
WORDS = st.sampled_from([
    b"_volant_connect_token=", b"_modal_connect_token=", TOKEN, b"wrong", b"; ", b";", b"&", b"?",
    b"a=1", b"Bearer ", b"bearer ", b"Basic ", b" ", b"=", b",", b"\t", b"x",
])  # fmt: skip
NAMES = st.sampled_from([
    b"Authorization", b"Cookie", b"cookie", b"X-Verified-User-Data", b"x_verified_user-data",
    b"X_VERIFIED_USER_DATA", b"Connection", b"X-Other",
])  # fmt: skip
VALUES = st.lists(WORDS, max_size=6).map(b"".join)
FIELDS = st.lists(st.tuples(NAMES, VALUES | st.just(b"x-verified-user-data")), max_size=5)
QUERIES = st.lists(WORDS.filter(lambda word: not set(word) & set(b" \t")), max_size=6).map(b"".join)


@given(fields=FIELDS, query=QUERIES)
def test_who_is_let_in_has_shown_the_token_and_is_who_it_was_made_for(
    fields: list[tuple[bytes, bytes]], query: bytes
) -> None:
    lines = b"".join(b"%b: %b\r\n" % pair for pair in fields)
    data = b"GET /a?" + query + b" HTTP/1.1\r\nHost: a.localhost\r\n" + lines + b"\r\n"
    try:
        head = read_request(data)
        assert head is not None
        target = WAY.admit(head, head.target, "127.0.0.1")
    except RefusedError:
        return
    assert TOKEN in data
    onward = head.onward(target, b"").lower()
    verified = [line for line in onward.split(b"\r\n") if b"verified" in line.partition(b":")[0]]
    assert verified == [b"x-verified-user-data: guest"]
    assert b"connect_token=" + TOKEN + b"\r\n" not in onward
