"""Suites: what a run is asked to do, read from YAML with its places, checked and resolved."""
