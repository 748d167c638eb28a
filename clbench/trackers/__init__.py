"""Trackers: observers of a run, one file each. None of them changes a result."""

OUTPUTS = ("tensorboard", "metrics.csv", "wandb", "mlflow-run")
"""What the built-in trackers write in a run's folder. A run that starts afresh removes it first."""
