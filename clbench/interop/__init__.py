"""Bridges to other libraries: their strategies here, our streams and strategies there."""
