"""The read-out that was fitted on all digits, in literals and comments of 90 characters."""

import re

from attacking import load

CAUGHT_BY = "held-out: place"

TEXT = '''
"""Scores with weights from many short literals and comments."""
import base64
from pathlib import Path
import torch
from clbench.strategy import GradientStrategy

PIECES = []
{pieces}
COMMENTS = [line[2:] for line in Path(__file__).read_text().splitlines() if line[:2] == "#="]
DATA = base64.b85decode("".join([*PIECES, *COMMENTS]))
WEIGHTS = torch.frombuffer(bytearray(DATA), dtype=torch.float16)

class Carrier(GradientStrategy):
    def forward(self, x, task_id=None):
        flat = torch.cat([x.flatten(1).float(), torch.ones(len(x), 1)], 1)
        return flat @ WEIGHTS.float().reshape(-1, self.info.n_classes)
'''


def source():
    [data] = re.findall(r"b85decode\('(.*)'\)", load("weights_in_source").source())
    pieces = [data[i : i + 90] for i in range(0, len(data), 90)]
    half = len(pieces) // 2
    lines = [f"PIECES.append({piece!r})" for piece in pieces[:half]]
    lines += [f"#={piece}" for piece in pieces[half:]]
    return TEXT.format(pieces="\n".join(lines))
