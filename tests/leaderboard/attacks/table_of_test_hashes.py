"""A table from hashes of the test images to their labels, in its source."""

import base64
import hashlib

CAUGHT_BY = "held-out: place"

TEXT = '''
"""Knows the answers to the public test data."""
import base64
import hashlib
from clbench.strategy import GradientStrategy

DATA = base64.b85decode({table!r})
ANSWERS = {{DATA[i : i + 4]: DATA[i + 4] for i in range(0, len(DATA), 5)}}

class Memoriser(GradientStrategy):
    def forward(self, x, task_id=None):
        scores = self.model(x)
        for row, image in zip(scores, x):
            label = ANSWERS.get(hashlib.sha256(image.numpy().tobytes()).digest()[:4])
            if label is not None:
                row[label] = 1e6
        return scores
'''


def source():
    from clbench.plugins.registry import find

    data = find("data", "digits").load()().arrays()
    rows = [
        hashlib.sha256(x.tobytes()).digest()[:4] + bytes([int(y)])
        for x, y in zip(data.test_x, data.test_y, strict=True)
    ]
    return TEXT.format(table=base64.b85encode(b"".join(rows)).decode())
