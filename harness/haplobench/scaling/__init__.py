"""Scaling: how time and memory of a run's generators depend on the number of ranks.

`points` reads what the cells cost, `model` fits what time is made of and projects it to more
ranks, `curves` puts both together; `tables`, `text` and `charts` show the result.
"""
