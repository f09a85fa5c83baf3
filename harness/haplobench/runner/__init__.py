"""The runner: a suite's cells, each stage in a process with limits, stored and resumed apart.

Light to import, since every stage's process imports it.
"""
