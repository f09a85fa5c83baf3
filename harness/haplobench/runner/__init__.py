"""The runner: a suite's cells, each stage in a process of its own, stored and resumed apart.

Light to import, since every stage's process imports it.
"""
