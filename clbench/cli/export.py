"""``clbench export``: the weights of a run, in safetensors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  clbench export runs/scole/naive-1a2b3c4d/seed0 --weights naive.safetensors
  clbench export downloaded.pt --weights net.safetensors
  clbench run scenario=class_incremental strategy=naive strategy.weights_path=naive.safetensors"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "export",
        help="write a run's weights as safetensors",
        description="Write the network of a run, parameters and buffers, as one safetensors file; or "
        "turn a flat dictionary of tensors (.pt, .npz; nothing is unpickled) into one.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, a .pt or .npz file")
    parser.add_argument(
        "--weights", type=Path, required=True, metavar="FILE", help="the file to write"
    )
    parser.add_argument("--overwrite", action="store_true", help="write over FILE")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Write the file and say what is in it."""
    from clbench.engine.export import network_of
    from clbench.nets import weights
    from clbench.util import tensor_files

    path = tensor_files.writable(arguments.weights, arguments.overwrite)
    tensors, about = network_of(arguments.run)
    weights.save(path, tensors, about)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    print(f"{path}: {len(tensors)} tensors, {numbers:,} numbers")
    return 0
