"""A verified.json in the entry's own folder."""

import json

CAUGHT_BY = "verified.json: is no evidence"


def forge(entry):
    (entry / "verified.json").write_text(json.dumps({"tier": "held-out", "seeds": [0, 1]}))
