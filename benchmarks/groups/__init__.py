"""One module for each group of bars: `measure(bench)` yields its figures."""
