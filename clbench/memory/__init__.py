"""Memories that strategies share: stores of samples, and generative and associative memories."""
