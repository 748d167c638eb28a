"""``clbench export``: writes the weights of a run as a safetensors file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  clbench export runs/scole/naive-1a2b3c4d/seed0 --weights naive.safetensors
  clbench export downloaded.pt --weights net.safetensors
  clbench run scenario=scole strategy=naive strategy.weights_path=w.safetensors"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "export",
        help="write a run's weights as safetensors",
        description="Write the parameters and buffers of a run's network to a safetensors file, or "
        "convert a flat dictionary of tensors (.pt or .npz; nothing is unpickled).",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="the folder of a run, or a .pt or .npz file"
    )
    parser.add_argument(
        "--weights", type=Path, required=True, metavar="FILE", help="the file to write"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Write the file and print what it holds."""
    from clbench.engine.export import network_of
    from clbench.nets import weights
    from clbench.util import tensor_files

    path = tensor_files.writable(arguments.weights, arguments.overwrite)
    tensors, about = network_of(arguments.run)
    weights.save(path, tensors, about)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    print(f"{path}: {len(tensors)} tensors, {numbers:,} numbers")
    return 0
