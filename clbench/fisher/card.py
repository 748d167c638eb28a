"""The card of a released Fisher: what it is and how to use it, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clbench.fisher import report
from clbench.fisher.release import Release
from clbench.util.text import as_markdown

TITLES = {
    "architecture": "Network",
    "weights_sha256": "SHA-256 of the weights",
    "estimator": "Estimator",
    "loss": "Loss",
    "label_source": "Labels",
    "n_samples": "Samples",
    "batch_size": "Samples per squared gradient",
    "data": "Data",
    "data_sha256": "SHA-256 of the data",
    "seed": "Seed",
    "normalisation": "Normalisation",
    "date": "Date",
    "code_version": "Code",
    "changes": "Changed since",
    "stored": "Values",
    "error": "Error of the values",
}


def card(released: Release, rows: Sequence[report.Layer], file: str) -> str:
    """Markdown with the metadata, the distribution per layer, and how to use the file.

    Args:
        released: its names and words may be anybody's; all are escaped.
        rows: ``report.layers`` of it.
        file: the release's file name.
    """
    metadata = released.metadata.as_dict()
    said = [
        f"| {title} | {as_markdown(_text(metadata[name]), 1000)} |"
        for name, title in TITLES.items()
        if name in metadata
    ]
    table = [_row(row) for row in rows]
    advice = report.advice(rows[-1])
    return "\n".join(
        [
            f"# {as_markdown(file)}",
            "",
            "Diagonal Fisher information: one non-negative number for each parameter of the network, "
            "in a safetensors file, a tensor per parameter.",
            "",
            "| | |",
            "|---|---|",
            *said,
            "",
            "The hash of the weights is over those named in this file, each as a line of JSON with "
            "name, dtype and shape, then its values in little-endian bytes, in the order of names.",
            "",
            "## Distribution",
            "",
            "| tensor | entries | zeros | 5 % | median | 95 % | largest | trace | condition |",
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
            *table,
            "",
            "*condition: largest over smallest positive entry.*",
            *(["", as_markdown(advice[0].upper() + advice[1:], 400) + "."] if advice else []),
            "",
            "## Use",
            "",
            "```sh",
            "clbench run scenario=class_incremental strategy=ewc strategy.lam=1 \\",
            "    strategy.fisher_path=FISHER strategy.weights_path=WEIGHTS",
            "```",
            "",
            "The strength `lam` does not carry over from one estimator to another.",
            "",
        ]
    )


def _text(value: Any) -> str:
    if value is None:
        return "not known"
    if isinstance(value, list):
        return "; ".join(value) or "nothing"
    return str(value)


def _row(row: report.Layer) -> str:
    condition = "none positive" if row.condition is None else f"{row.condition:.1e}"
    numbers = [f"{value:.2e}" for value in (*row.quantiles, row.largest, row.trace)]
    cells = [as_markdown(row.name), f"{row.size:,}", f"{row.zeros:.1%}", *numbers, condition]
    return f"| {' | '.join(cells)} |"
