"""What a stream has shown so far, which A_AUC is over."""

from __future__ import annotations

import pytest
from small import go, pool, run

BLURRY = ("scenario=blurry", "scenario.n_tasks=3", "scenario.chunk=2", "strategy=naive")


@pytest.mark.parametrize(
    "hidden", [("label_noise=symmetric", "label_noise_rate=0.5"), ("unlabelled=0.5",)]
)
def test_a_class_is_seen_from_its_first_sample_on_whatever_its_label_says(
    hidden: tuple[str, ...],
) -> None:
    words = tuple(f"scenario.{word}" for word in hidden)
    _, clean = go(run(*BLURRY, on=pool(10)))
    _, noisy = go(run(*BLURRY, *words, on=pool(10)))
    assert max(clean.ledger.first_seen) > 1  # some class comes later
    assert noisy.ledger.first_seen == clean.ledger.first_seen
