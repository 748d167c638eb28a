"""``clbench fisher``: computes, shows, compares and converts released Fisher information."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from clbench.cli import fisher_files

EXAMPLES = """examples:
  clbench fisher compute data=digits --out fisher.safetensors
  clbench fisher show fisher.safetensors
  clbench fisher compute --help             (all options of an action)"""
COMPUTE = """examples:
  clbench export runs/scole/naive-1a2b3c4d/seed0 --weights naive.safetensors
  clbench fisher compute data=digits model=mlp \\
      --weights naive.safetensors --out fisher.safetensors
  clbench fisher compute data=mnist5k encoder=efficientnet_lite0 model=linear \\
      --of encoder --weights head.safetensors --out encoder_fisher.safetensors
  clbench fisher compute data=mnist5k model=vit_s14 model.resolution=56 \\
      --estimator empirical --values 8bit --out vit.safetensors
  clbench fisher compute data=mnist5k --estimator sampled --samples all \\
      --out fisher.safetensors
  clbench run scenario=class_incremental strategy=ewc strategy.lam=1 \\
      strategy.fisher_path=fisher.safetensors \\
      strategy.weights_path=naive.safetensors

Labels: `exact` sums over all classes, weighted by p(y|x); `sampled` draws one
label from p(y|x); `empirical` and `batched` take the data's labels. A penalty
strength chosen for one estimator does not carry over to another.

Sums are kept once a minute beside FILE, as *.partial.safetensors. The same
command goes on from there, to the same bits."""


def add(commands: Any) -> None:
    """Add the subcommand and the actions below it."""
    parser = commands.add_parser(
        "fisher",
        help="compute, show, compare and convert released Fisher information",
        description="A released Fisher is one safetensors file. It holds a non-negative tensor for "
        "each parameter of a network, and metadata on the network, the data and the estimator.",
        epilog=EXAMPLES,
    )
    below = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_compute(below)
    fisher_files.add(below)


def _add_compute(commands: Any) -> None:
    parser = commands.add_parser(
        "compute",
        help="estimate the Fisher on a data set",
        description="Estimate the diagonal Fisher of a network on training samples.",
        epilog=COMPUTE,
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="settings: data, encoder, model, seed, device",
    )
    parser.add_argument(
        "--estimator",
        choices=("exact", "sampled", "empirical", "batched"),
        default="exact",
        help="where the labels come from (default: exact; see below)",
    )
    parser.add_argument(
        "--samples", default="1000", metavar="N", help="number of samples, or all (default: 1000)"
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=128,
        metavar="N",
        help="batch size of the estimator batched (default: 128)",
    )
    parser.add_argument(
        "--exclude",
        default="none",
        metavar="NAMES",
        help="parameters to leave out: output (the last linear layer), patterns of names, or none "
        "(default: none)",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="weights of the model (default: fresh weights drawn with the seed)",
    )
    parser.add_argument(
        "--of",
        choices=("model", "encoder"),
        default="model",
        help="take the parameters of the model, or of the encoder below it (default: model)",
    )
    fisher_files.add_values(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE and its card")
    parser.add_argument("-q", "--quiet", action="store_true", help="print no progress")
    parser.set_defaults(call=compute)


def compute(arguments: argparse.Namespace) -> int:
    """Estimate the Fisher and write it with its card."""
    from clbench.engine.fisher import Request, configuration
    from clbench.engine.fisher import compute as estimate
    from clbench.engine.fisher_partial import path_of
    from clbench.errors import UsageError
    from clbench.trackers import progress as tracking

    path = fisher_files.target(arguments)
    samples = None
    if arguments.samples != "all":
        if not arguments.samples.isdecimal():
            raise UsageError(f"--samples {arguments.samples}: must be a positive integer, or all")
        samples = int(arguments.samples)
    request = Request(
        configuration(arguments.overrides),
        arguments.estimator,
        samples,
        arguments.batch_size,
        arguments.exclude,
        arguments.weights,
        arguments.of,
    )
    kept = path_of(path)
    if arguments.quiet:
        found = estimate(request, kept=kept)
    else:
        with tracking.counted(path.name, samples) as report:
            found = estimate(request, report, kept)
    code = fisher_files.write(path, found, arguments.values)
    kept.unlink(missing_ok=True)
    return code
