"""Observers of a run, one file each; none of them changes a result."""
