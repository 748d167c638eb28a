"""From words to a RunConfig: sweeps, typed settings, and what a board fixes."""
