"""A record whose counts claim 99 % right answers, with metrics that follow, on a made-up torch."""

from forging import claim_right, each_record

CAUGHT_BY = "the same answers, but other counts"


def forge(entry):
    def change(data):
        claim_right(data, 0.99)
        data["environment"]["torch"] = "9.9.9"

    each_record(entry, change)
