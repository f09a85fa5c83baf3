"""Leaderboard: generators ranked by dominance over scores that the noise floor normalises.

`scores` makes numbers of different metrics alike, `dominance` compares generators by them, `board`
puts both together for one dataset, `texts` and `chart` show the result.
"""
