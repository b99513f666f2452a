"""The hub: sessions of clients, the books of apps and calls, and the wiring of the pure core.

    client ──frames──► Session ──events──► Scheduler ──commands──► Hub ──frames──► container
    client ◄──frames── Session ◄──────────── Hub ◄──frames──────────────────────── container

The hub forwards payloads without looking into them, and it never unpickles anything.
"""
