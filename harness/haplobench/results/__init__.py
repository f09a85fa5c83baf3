"""Results: records, the folder of a run, and where a run comes from."""
