"""Another ceiling in board.yaml, with the hash of the file computed again."""

import yaml

from clbench.util.hashing import sha256_of

CAUGHT_BY = "is not the protocol that"


def forge(entry):
    path = entry.parents[1] / "board.yaml"
    data = yaml.safe_load(path.read_text())
    data["ceiling"]["mean"] = 0.2
    data["sha256"] = sha256_of({k: v for k, v in data.items() if k != "sha256"})
    path.write_text(yaml.safe_dump(data, sort_keys=False))
