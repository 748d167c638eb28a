"""A hundredth of the state alone."""

from forging import each_record

CAUGHT_BY = "cost.state_bytes is claimed to be"


def forge(entry):
    each_record(
        entry, lambda data: data["cost"].update(state_bytes=data["cost"]["state_bytes"] // 100)
    )
