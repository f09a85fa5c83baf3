"""Results: records, and the folder of a run."""
