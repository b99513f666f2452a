"""Benchmarks: every bar of the design, ours and the peer in turns. Run by scripts/bench."""
