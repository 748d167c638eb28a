"""Dark experience replay: matches the logits that were stored with each sample.

Buzzega et al. 2020 (NeurIPS, arXiv 2004.07211), equation 6, and DER++ (equation 7) in ``derpp``:

    L = CE(f(x), y) + alpha |z - h(x')|^2,   (x', z) from the memory, h the logits,

with the squared distance as a mean over classes, as in the authors' code, so that alpha means the
same. z are the logits of the step that trained on the sample, before the update. They come from the
first epoch of an experience, and from the last one once it has visited the sample. A sample that comes
again in a later experience gets the logits of that visit. Deviations: those of ``clbench.replay``; a
sample that recurs is stored once, with its newest logits (the paper's reservoir may hold it twice); if
scores are masked, only classes that were open then and are open now are compared.
"""

from __future__ import annotations

from clbench.dark import DarkReplay


class DER(DarkReplay):
    """Replays stored samples with their logits alone."""
