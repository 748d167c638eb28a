"""Built-in scenarios, one file each; installed as ``clbench.scenarios``."""
