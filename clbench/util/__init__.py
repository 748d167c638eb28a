"""Atomic files, hashes, tensor files, and a description of the environment."""
