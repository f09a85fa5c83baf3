"""Leaderboard: generators in order of their distance from the floor, those that leak below.

`distance` measures how far a generator is and how sure that is, `board` ranks the generators of a
dataset by it, `texts` shows the result.
"""
