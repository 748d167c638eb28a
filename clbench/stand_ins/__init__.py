"""A scenario and a strategy for code that needs one of each and looks at neither."""
