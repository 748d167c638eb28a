"""The figure of ``kanerva_nll.py``: samples, reconstructions of spoilt cues, and interpolated keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.kanerva_arms import Arm, Name, build
from benchmarks.kanerva_nll import EPISODE, MODELS, TITLES, Effort, images

SHOWN = 8
FLIPPED = 0.15
"""Share of the pixels that noise turns over."""
PANELS = ("samples", "noise", "occlusion", "between two keys")


def spoilt(x: Tensor) -> dict[str, Tensor]:
    """``(n, 28, 28)`` uint8: the cues."""
    flip = torch.rand(x.shape) < FLIPPED
    hidden = x.clone()
    hidden[:, 14:] = 0
    return {"noise": torch.where(flip, 255 - x, x), "occlusion": hidden}


@torch.no_grad()
def pictures(arm: Arm, x: Tensor) -> dict[str, Tensor]:
    """``(8, 28, 28)`` floats in [0, 1] for each panel, of an episode that is written first."""
    memory = arm.write(x)
    found = {"samples": arm.at(torch.randn(SHOWN, arm.address_size), memory)}
    for kind, cue in spoilt(x[:SHOWN]).items():
        found[kind] = arm.at(arm.address(cue, memory), memory)
    first, last = arm.address(x[:2], memory)
    share = torch.linspace(0, 1, SHOWN)[:, None]
    found["between two keys"] = arm.at(first + share * (last - first), memory)
    return {kind: each.view(-1, 28, 28) for kind, each in found.items()}


def strip(rows: Tensor) -> np.ndarray:
    """Images side by side."""
    return torch.nn.functional.pad(rows, (0, 2), value=0.5).permute(1, 0, 2).flatten(1).numpy()


def draw(out: Path, effort: Effort, widths: Mapping[Name, int], path: Path) -> None:
    """Draw the models of seed 0 on digits."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    _, test = images("mnist5k", effort)
    x = test[:EPISODE]
    size = (15, 1 + 0.62 * (len(MODELS) + 1))
    figure, axes = plt.subplots(len(MODELS) + 1, len(PANELS), figsize=size, dpi=72)
    torch.manual_seed(0)
    cues = spoilt(x[:SHOWN])
    top = {"samples": x[:SHOWN], **cues, "between two keys": x[:2]}
    for column, kind in enumerate(PANELS):
        axes[0, column].set_title({"samples": "written | samples"}.get(kind, kind), fontsize=11)
        axes[0, column].imshow(strip(top[kind].float() / 255), cmap="gray")
    for row, name in enumerate(MODELS, 1):
        arm = build(name, effort.width, widths[name])
        long, short = (out / f"mnist5k-{name}{suffix}.pt" for suffix in ("-long", ""))
        arm.load_state_dict(torch.load(long if long.exists() else short, weights_only=True))
        torch.manual_seed(0)
        shown = pictures(arm, x)
        for column, kind in enumerate(PANELS):
            axes[row, column].imshow(strip(shown[kind]), cmap="gray", vmin=0, vmax=1)
        axes[row, 0].set_ylabel(TITLES[name], rotation=0, ha="right", va="center", fontsize=11)
    axes[0, 0].set_ylabel("cues", rotation=0, ha="right", va="center", fontsize=11)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set_visible(False)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
