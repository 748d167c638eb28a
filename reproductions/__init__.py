"""Published numbers, as data; see ``clbench reproduce``."""
