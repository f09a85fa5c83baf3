"""The verdict on each generator: is it faithful, is it useful, does it leak; and a statement."""
