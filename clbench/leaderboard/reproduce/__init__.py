"""Runs entries again: isolated, rebuilt from their state, on held-out data."""
