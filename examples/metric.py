"""The median accuracy of the cells: a metric of one's own, here computed for a run that was made.

An installed package declares ``MEDIAN`` under the entry point ``clbench.metrics``, and every table,
figure and board then has it. As a script: ``python examples/metric.py RUN``.
"""

import sys

import numpy as np

from clbench import Metric, Record
from clbench.metric import Counts, Value


def median_cell(counts: Counts) -> Value:
    """MED: the median accuracy of the cells at the end."""
    return Value(float(np.median(counts.correct[-1] / counts.size)), len(counts.size))


MEDIAN = Metric("median_cell", median_cell, "MED", since="2026-11-28", span=(0.0, 1.0))

if __name__ == "__main__":
    found = MEDIAN.function(Record.load(sys.argv[1]).to_counts())
    sys.stdout.write(f"{MEDIAN.title} {100 * found.value:.1f} % of {found.n_terms} cells\n")
