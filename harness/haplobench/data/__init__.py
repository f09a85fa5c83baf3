"""Haplotypes and whose they are: panels, splits, maps, people, and the files they come in."""
