"""A trial table in which the best trial scores more than it did, and records that name this table."""

import json

from forging import each_record
from tiny import edit

from clbench.configure import tuning

CAUGHT_BY = "tuning: best trial"
IS_TUNED = True


def forge(entry):
    path = entry / "tuning.json"

    def raise_best(table):
        best = table["results"][tuning.best_trial(table["results"])]
        best["values"] = [min(1.0, value + 0.05) for value in best["values"]]

    edit(path, raise_best)
    sha = tuning.table_sha256(json.loads(path.read_text()))
    each_record(entry, lambda record: record["tuning"].update(grid_sha256=sha))
