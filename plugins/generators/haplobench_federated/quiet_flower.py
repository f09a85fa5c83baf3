"""Flower and what it brings, imported with telemetry off. Import this before `flwr`."""

from __future__ import annotations

import os

# Flower reads its variable on import and reports to its makers by default; Ray likewise.
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
