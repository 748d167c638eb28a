"""Remedies for a poorly conditioned diagonal Fisher; each is recorded in the metadata.

They are clbench's own: we could not read the part of Ovsianas et al. 2022 (arXiv 2210.16365) that
describes their remedy.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from clbench.errors import UsageError
from clbench.fisher.release import Release


def changed(
    released: Release,
    *,
    clip: float | None = None,
    floor: float | None = None,
    unit_trace: bool = False,
) -> Release:
    """Clip a release's values, raise the smallest ones and divide by the trace, in this order.

    Args:
        released: the release; it is not changed.
        clip: lower larger values to this quantile of all values, in (0, 1); None: do not.
        floor: raise smaller values, zeros too, to this share of the largest value (after the clip), in
            (0, 1), so that the condition number is at most its inverse; None: do not.
        unit_trace: divide all values by their sum, so that penalty strengths are comparable between
            estimators and sample sizes.

    Returns:
        A new release, in float32 (float64 where it was). ``metadata.changes`` lists what was done.

    Raises:
        UsageError: ``clip`` or ``floor`` is out of its range, no value is positive, or the quantile of
            ``clip`` is 0.
    """
    for name, value in (("--clip", clip), ("--floor", floor)):
        if value is not None and not 0 < value < 1:
            raise UsageError(f"{name} {value}: must be between 0 and 1")
    fisher = {name: t.to(torch.float64) for name, t in released.fisher.items()}
    largest = max((float(t.max()) for t in fisher.values() if t.numel()), default=0.0)
    if (clip is not None or floor is not None or unit_trace) and largest == 0:
        raise UsageError("no entry of this Fisher is positive: there is nothing to scale")
    said = list(released.metadata.changes)
    normalisation = released.metadata.normalisation
    if clip is not None:
        # As numpy's inverted_cdf, without its sort: the smallest entry with so many at or below.
        entries = torch.cat([t.reshape(-1) for t in fisher.values()])
        rank = max(1, math.ceil(clip * len(entries)))
        largest = float(entries.kthvalue(rank).values)
        if largest == 0:
            raise UsageError(f"--clip {clip}: this quantile is 0; choose a higher one")
        fisher = {name: t.clamp(max=largest) for name, t in fisher.items()}
        said.append(f"clipped at quantile {clip:g} ({largest:.6g})")
    if floor is not None:
        least = floor * largest
        fisher = {name: t.clamp(min=least) for name, t in fisher.items()}
        said.append(f"floored at {floor:g} of the largest ({least:.6g})")
    if unit_trace:
        trace = math.fsum(float(t.sum()) for t in fisher.values())
        fisher = {name: t / trace for name, t in fisher.items()}
        said.append(f"divided by its trace ({trace:.6g})")
        normalisation = "trace 1"
    # Half precision would lose what is small against the rest.
    kept = {name: t.dtype == torch.float64 for name, t in released.fisher.items()}
    back = {name: t if kept[name] else t.to(torch.float32) for name, t in fisher.items()}
    metadata = replace(released.metadata, changes=tuple(said), normalisation=normalisation)
    return Release(back, metadata)
