"""Descriptions of the metrics, light to import."""
