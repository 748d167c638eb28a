"""Studies: many runs, launched and joined into one page."""
