"""History: how every metric went from commit to commit, on each kind of machine apart."""
