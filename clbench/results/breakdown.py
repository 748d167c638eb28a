"""Final accuracy by group and by what is known of the test samples, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from clbench.results import classes as by_class
from clbench.results.arms import by_arm, labels
from clbench.results.record import Record
from clbench.util.text import escape_pipe


def groups_to_markdown(records: Iterable[Record]) -> str:
    """Final accuracy of each group, a row for each attribute: one Markdown table per arm.

    Means over completed seeds, in percent; arms whose cells are no groups are left out.
    """
    out = []
    arms = by_arm(r for r in records if r.status == "completed" and r.to_counts().groups)
    for name, arm in zip(labels(arms), arms, strict=True):
        counts = [r.to_counts() for r in arm.records]
        mean = sum(100 * c.correct[-1] / c.size for c in counts) / len(counts)
        cells = [(c["domain"], c["label"]) for c in arm.records[0].counts["cells"]]
        accuracy = dict(zip(cells, mean, strict=True))
        attributes, classes = (sorted(set(part)) for part in zip(*cells, strict=True))
        lines = [["attribute", *(escape_pipe(by_class.title(arm.records[0], c)) for c in classes)]]
        lines += [["---", *["---:"] * len(classes)]]
        lines += [[str(a), *(f"{accuracy[a, c]:.1f}" for c in classes)] for a in attributes]
        table = "".join("| " + " | ".join(line) + " |\n" for line in lines)
        out.append(f"{escape_pipe(name)} (n={len(counts)})\n\n{table}")
    return "\n".join(out)


def factors_to_markdown(records: Iterable[Record]) -> str:
    """Final accuracy by what is known of the test samples, a Markdown table per arm.

    Means over completed seeds, in percent; the factor whose brackets differ most comes first. An
    arm is left out if nothing is known of its samples.
    """
    from clbench.results.factors import final

    out = []
    arms = by_arm(r for r in records if r.status == "completed" and r.factors is not None)
    for name, arm in zip(labels(arms), arms, strict=True):
        known = [r.factors for r in arm.records if r.factors is not None]
        lines = [["factor", "spread", "bracket", "samples", "accuracy %"]]
        lines += [["---", "---:", "---", "---:", "---:"]]
        for found in final(known):
            first = [found.factor, f"{100 * found.spread:.1f}"]
            for row in zip(found.brackets, found.sizes, found.accuracy, strict=True):
                bracket, size, accuracy = row
                lines += [[*first, escape_pipe(bracket), str(size), f"{100 * accuracy:.1f}"]]
                first = ["", ""]
        table = "".join("| " + " | ".join(line) + " |\n" for line in lines)
        out.append(f"{escape_pipe(name)} (n={len(known)})\n\n{table}")
    return "\n".join(out)
