"""The byte format that clients, hub and containers speak: the only place that knows it.

    frame   = length u32 | type u8 | flags u8 | body            (little endian)
    control = body is one msgpack map (values.py)                cold path
    hot     = body is a packed header and a run of items          (frames.py)

Nothing here opens a socket, and nothing here unpickles: payloads are opaque bytes.
"""
