"""Power cuts: what a daemon has written, as a disk has it that lost what was not synced.

    scripts/crashes --power-cuts 300

The daemon runs once, under `record.c`, which writes down all that it does to its files; the load
adds what was acknowledged. From that record `disk.py` makes the directory as it may be after a cut
at any moment, and another daemon starts there. So one run gives as many cuts as one likes.
"""
