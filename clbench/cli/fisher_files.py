"""``clbench fisher show | compare | convert``: actions on files of Fisher information."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clbench.fisher import Release
    from clbench.fisher.forms import Form

CONVERT = """examples:
  clbench fisher convert theirs.pt --weights theirs_weights.pt \\
      --out fisher.safetensors estimator=empirical n_samples=10000 \\
      data=imagenet label_source="the data's labels"
  clbench fisher convert fisher.safetensors --clip 0.999 --floor 1e-4 \\
      --out better.safetensors

Changes are applied in the order clip, floor, trace, and recorded in the new
file. To convert weights for strategy.weights_path, use clbench export."""


def add(commands: Any) -> None:
    """Add the subcommands."""
    show = commands.add_parser(
        "show",
        help="show metadata and the distribution of each layer",
        description="Show the metadata of a released Fisher, and for each layer its quantiles, zeros "
        "and condition number.",
        epilog="examples:\n  clbench fisher show fisher.safetensors",
    )
    show.add_argument("file", type=Path, help="the release")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(call=_show)
    compare = commands.add_parser(
        "compare",
        help="compare two releases, layer by layer",
        description="Show the correlation and overlap of two releases of the same network.",
        epilog="examples:\n  clbench fisher compare exact.safetensors sampled.safetensors",
    )
    compare.add_argument("first", type=Path, help="a release")
    compare.add_argument("second", type=Path, help="another release")
    compare.add_argument("--json", action="store_true", help="print JSON")
    compare.set_defaults(call=_compare)
    convert = commands.add_parser(
        "convert",
        help="convert a dictionary of tensors, or change a release",
        description="Convert a flat dictionary of tensors (.pt, .npz or .safetensors; nothing is "
        "unpickled) to a release, or change the values of a release.",
        epilog=CONVERT,
    )
    convert.add_argument("file", type=Path, help="the dictionary of tensors, or the release")
    convert.add_argument(
        "overrides", nargs="*", metavar="field=value", help="metadata of the release"
    )
    convert.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="the weights at which it was computed; their hash is recorded",
    )
    convert.add_argument("--clip", type=float, metavar="Q", help="limit values to this quantile")
    convert.add_argument(
        "--floor",
        type=float,
        metavar="SHARE",
        help="raise values to at least this share of the largest",
    )
    add_values(convert)
    convert.add_argument("--unit-trace", action="store_true", help="divide all values by their sum")
    convert.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the file to write"
    )
    convert.add_argument("--overwrite", action="store_true", help="replace FILE and its card")
    convert.set_defaults(call=_convert)


def add_values(parser: argparse.ArgumentParser) -> None:
    """Add the choice of how values are stored."""
    parser.add_argument(
        "--values",
        choices=("float32", "bfloat16", "8bit"),
        default="float32",
        help="how values are stored: float32, as they are; bfloat16, in half the bytes; 8bit, in a "
        "quarter. The card says the error (default: float32)",
    )


def target(arguments: argparse.Namespace) -> Path:
    """Check, before anything is computed, that the file and its card can be written."""
    from clbench.errors import UsageError
    from clbench.util.tensor_files import writable

    path: Path = arguments.out
    if path.suffix != ".safetensors":
        raise UsageError(f"--out {path}: the file name must end in .safetensors")
    writable(path.with_suffix(".md"), arguments.overwrite)
    return writable(path, arguments.overwrite)


def write(path: Path, release: Release, form: Form = "float32") -> int:
    """Write a release and its card, and print their names."""
    from clbench import fisher
    from clbench.fisher import report
    from clbench.fisher.card import card
    from clbench.util.atomic import write_atomically

    release = fisher.save(path, release.fisher, release.metadata, form)
    card_path = path.with_suffix(".md")
    rows = report.layers(release.fisher)
    write_atomically(card_path, card(release, rows, path.name).encode())
    numbers = sum(tensor.numel() for tensor in release.fisher.values())
    print(f"{path}: {len(release.fisher)} tensors, {numbers:,} numbers; card: {card_path}")
    _advise(report.advice(rows[-1]))
    return 0


def _advise(advice: str | None) -> None:
    if advice:
        print(f"clbench: warning: {advice}", file=sys.stderr)


def _show(arguments: argparse.Namespace) -> int:
    from clbench import fisher
    from clbench.fisher import report

    release = fisher.load(arguments.file)
    rows = report.layers(release.fisher)
    if arguments.json:
        data = {"metadata": release.metadata.as_dict(), "layers": [asdict(row) for row in rows]}
        print(json.dumps(data, indent=2, allow_nan=False))
        return 0
    for name, value in release.metadata.as_dict().items():
        if value not in (None, []):
            print(f"{name:<16}{'; '.join(value) if isinstance(value, list) else value}")
    levels = [f"{level:.0%}" for level in report.LEVELS]
    heads = ["tensor", "entries", "zeros", *levels, "largest", "trace", "condition"]
    table = [
        [
            row.name,
            f"{row.size:,}",
            f"{row.zeros:.1%}",
            *(_short(value) for value in (*row.quantiles, row.largest, row.trace, row.condition)),
        ]
        for row in rows
    ]
    print()
    _print_table(heads, table)
    _advise(report.advice(rows[-1]))
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from clbench import fisher
    from clbench.fisher import report

    first, second = fisher.load(arguments.first), fisher.load(arguments.second)
    rows = report.compare(first.fisher, second.fisher)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2, allow_nan=False))
        return 0
    sides = first.metadata.as_dict(), second.metadata.as_dict()
    for name in sides[0] | sides[1]:
        value, other = (side.get(name) for side in sides)
        if value != other:
            print(f"{name:<16}{value}  |  {other}")
    heads = ["tensor", "entries", "correlation", "overlap", "common top 10%", "trace ratio"]
    table = [
        [row.name, f"{row.size:,}", _plain(row.correlation), _plain(row.overlap), _plain(row.top),
         _short(row.ratio)]
        for row in rows
    ]  # fmt: skip
    print()
    _print_table(heads, table)
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    from clbench.fisher.change import changed
    from clbench.fisher.convert import converted

    path = target(arguments)
    found = converted(arguments.file, arguments.weights, arguments.overrides)
    better = changed(
        found, clip=arguments.clip, floor=arguments.floor, unit_trace=arguments.unit_trace
    )
    return write(path, better, arguments.values)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2e}"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from clbench.util.grid import Head, print_table

    columns = [Head(title, right=at > 0, stays=at < 2) for at, title in enumerate(heads)]
    print_table(columns, rows, boxed=False, more="--json has them")
