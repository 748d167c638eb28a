"""Which settings are no part of a run's identity."""

NOT_IDENTITY = ("seed", "device", "max_tasks", "checkpoint_seconds")
"""Common settings that are no part of ``config_sha256``."""
