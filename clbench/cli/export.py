"""``clbench export``: writes a run's weights, its whole strategy, or its network as ONNX."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  clbench export runs/scole/naive-1a2b3c4d/seed0 --weights naive.safetensors
  clbench export runs/scole/naive-1a2b3c4d/seed0 --model trained.safetensors
  clbench export runs/scole/naive-1a2b3c4d/seed0 --onnx scores.onnx
  clbench export downloaded.pt --weights net.safetensors
  clbench run scenario=scole strategy=naive strategy.weights_path=w.safetensors"""


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "export",
        help="write a trained strategy or its weights to a file",
        description="Of a run: --weights writes the parameters and buffers of its network to a "
        "safetensors file (or converts a flat dictionary of tensors, .pt or .npz; nothing is "
        "unpickled); --model writes the whole strategy with its settings, which clbench.load and "
        "clbench predict take back without the data; --onnx writes what scores samples for other "
        "programs.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="the folder of a run, or a .pt or .npz file"
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="write the network's weights")
    parser.add_argument("--model", type=Path, metavar="FILE", help="write the whole strategy")
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="write ONNX (extra onnx)")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Write the files and print what they hold."""
    from clbench.errors import UsageError
    from clbench.util.tensor_files import writable

    if not (arguments.weights or arguments.model or arguments.onnx):
        raise UsageError("export: say what: --weights FILE, --model FILE or --onnx FILE")
    for path in (arguments.weights, arguments.model, arguments.onnx):
        if path is not None:
            writable(path, arguments.overwrite)
    if arguments.weights:
        _weights(arguments.run, arguments.weights)
    if arguments.model or arguments.onnx:
        _strategy(arguments.run, arguments.model, arguments.onnx)
    return 0


def _weights(run: Path, path: Path) -> None:
    from clbench.engine.export import network_of
    from clbench.nets import weights

    tensors, about = network_of(run)
    weights.save(path, tensors, about)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    print(f"{path}: {len(tensors)} tensors, {numbers:,} numbers")


def _strategy(run: Path, model: Path | None, onnx: Path | None) -> None:
    from clbench.engine.revive import revived
    from clbench.trained import portable
    from clbench.trained.load import find

    place = find(run, device="cpu")
    strategy = revived(place.run, place.folder)
    if model:
        n, numbers = portable.save(model, place.run, strategy)
        print(f"{model}: {n} tensors, {numbers:,} numbers; clbench.load({str(model)!r})")
    if onnx:
        from clbench.trained import onnx as exporter

        exporter.save(onnx, strategy)
        shape = ", ".join(map(str, strategy.info.input_shape))
        print(f"{onnx}: {exporter.INPUT} (n, {shape}) -> {exporter.OUTPUT} (n, classes)")
