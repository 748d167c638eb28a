"""Dark experience replay: the stored samples' old logits are to be met again.

Buzzega et al. 2020 (NeurIPS, arXiv 2004.07211), equation 6, and DER++ (equation 7) in ``derpp``:

    L = CE(f(x), y) + alpha |z - h(x')|^2,   (x', z) from the memory, h the logits,

with the squared distance as a mean over classes as in the authors' code (so that alpha means here
what it means there). z are the logits of the step that trained on the sample, before its update: of
the first epoch until the last one visits it again, then of that. Deviations: those of
``clbench.replay``; where scores are masked, only classes open then and now are compared.
"""

from __future__ import annotations

from clbench.dark import DarkReplay


class DER(DarkReplay):
    """Replays stored samples by their logits alone."""
