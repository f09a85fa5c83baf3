"""Comparison of runs: which numbers improved, which regressed, and which can't be told."""
