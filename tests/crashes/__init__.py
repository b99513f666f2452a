"""The crash matrix: processes killed at random instants under load, and what is there afterwards.

    scripts/crashes --kills 500      one table in docs/internals/crash-matrix.md

A load program does what clients do, and writes down what was acknowledged, in a file of its own
that is on the disk before it goes on. A harness kills parts of the system, one at a time and at
random, and at the end of each round compares what is there with what was acknowledged.
"""
