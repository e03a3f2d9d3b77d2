"""The measurements behind tools/benchmark.py."""
