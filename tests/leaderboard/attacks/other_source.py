"""The records of one strategy with the source of another."""

from forging import replace_source

CAUGHT_BY = "the strategy is not the source that ran"


def forge(entry):
    replace_source(entry, "\nEXTRA = 1\n")
