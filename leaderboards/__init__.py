"""Built-in leaderboards, one folder each; installed as ``clbench.leaderboards``."""
