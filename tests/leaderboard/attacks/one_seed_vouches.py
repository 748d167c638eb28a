"""The first seed is honest; the others claim that every answer is right."""

from forging import claim_right, each_record

CAUGHT_BY = "seed 1: the same answers, but other counts"


def forge(entry):
    each_record(entry, lambda data: claim_right(data, 1.0), but=0)
