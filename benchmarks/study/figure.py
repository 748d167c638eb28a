"""The study's figure: accuracy against replay size, with heads without replay as lines."""

from __future__ import annotations

import io

from benchmarks.study.plan import Key
from benchmarks.study.result import Result, names_of, parts_of

LEVELS = (("nmc", "--"), ("slda", ":"))
"""Line styles of the heads without replay."""


def figure(result: Result) -> bytes:
    """Draw a PNG with a panel for each data set and a colour for each encoder."""
    from matplotlib.figure import Figure

    panels: dict[Key, list[Key]] = {}
    for setting in result.found:
        panels.setdefault(parts_of(setting)[0], []).append(setting)
    n, names = max(1, len(panels)), names_of(panels)
    encoders = names_of(parts_of(setting)[1] for setting in result.found)
    drawn = Figure(figsize=(2.5 + 4.2 * n, 4.2), layout="constrained")
    row = drawn.subplots(1, n, sharey=True, squeeze=False)[0]
    for axes, (rest, settings) in zip(row, panels.items(), strict=False):
        sizes: set[int] = set()
        for number, setting in enumerate(settings):
            colour, name = f"C{number}", encoders[parts_of(setting)[1]]
            curve = result.curve(setting)
            sizes |= {size for size, _ in curve}
            axes.plot([s for s, _ in curve], [a for _, a in curve], "o-", color=colour, label=name)
            for strategy, style in LEVELS:
                level = result.level(setting, strategy)
                if level is None:
                    continue
                axes.axhline(level, color=colour, linestyle=style)
                crossing = result.crossing(setting, strategy)
                if crossing is not None and not crossing.relation:
                    axes.plot([crossing.size], [level], "x", color=colour, markersize=9)
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xticks(sorted(sizes), [str(size) for size in sorted(sizes)])
        axes.minorticks_off()
        axes.set(title=names[rest], xlabel="replayed samples per class")
        axes.grid(alpha=0.3)
    row[0].set(ylabel="final accuracy, mean over tasks", ylim=(0, 1.02))
    for strategy, style in LEVELS:
        row[0].plot([], [], color="gray", linestyle=style, label=strategy.upper())
    row[0].plot([], [], "x", color="gray", label="replay as good as it")
    drawn.legend(*row[0].get_legend_handles_labels(), fontsize="small", loc="outside right upper")
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
