"""The processes of stages: what runs in them, and the typed facts that they hand back."""
