"""Leaderboard: generators ranked by dominance over scores that the noise floor normalises.

`board` makes numbers of different metrics alike and ranks the generators of a dataset by them,
`dominance` compares two generators, `texts` shows the result.
"""
