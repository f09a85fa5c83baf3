"""The command line: `bench`. Parses, calls, prints; the work is done elsewhere."""

from haplobench.cli.main import main

__all__ = ["main"]
