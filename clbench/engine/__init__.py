"""Runs one configuration: build, learn, evaluate, checkpoint, and assemble the record."""
