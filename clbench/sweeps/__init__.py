"""Sweeps: many runs as data, and what runs them."""
