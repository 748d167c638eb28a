"""Built-in strategies, one file each; installed as ``clbench.strategies``."""
