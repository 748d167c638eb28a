"""What a run cost, from its ledger."""

from __future__ import annotations

from typing import Any, Literal

from clbench.data.pool import Pool
from clbench.engine.counting import ENOUGH, ONE_IN, TOLERANCE, estimate
from clbench.engine.ledger import Ledger
from clbench.nets.frozen import constant_bytes
from clbench.results.record import UNRANKED
from clbench.strategy import Strategy
from clbench.util.environment import peak_rss_bytes

METHOD = (
    f"whole calls counted at 1, 2, 4, 8, ... and at about one in {ONE_IN} chosen by a hash of the "
    f"seed; the mean rate of the hashed ones, or interpolated with fewer than {ENOUGH}"
)


def train_flops(ledger: Ledger) -> float:
    """Estimate the operations of all training so far, that before evaluations included."""
    return _trained(ledger, "operations")


def unranked(ledger: Ledger) -> str | None:
    """Say why operations are not ranked, in one line; None where they are.

    The updates of all calls are known. They are estimated in the same way as the operations, so where
    the estimate is far off, the counted calls do not speak for the others.
    """
    counted = _trained(ledger, "updates")
    if abs(counted - ledger.updates) <= TOLERANCE * max(ledger.updates, 1):
        return None
    return (
        f"{UNRANKED}: updates per sample differ between counted and uncounted "
        f"experiences (the counted ones let expect {counted:.0f} updates, and there were "
        f"{ledger.updates})"
    )


def costs(ledger: Ledger, strategy: Strategy, pool: Pool) -> dict[str, Any]:
    """The costs of a run, as its record holds them."""
    frozen = sum(b.nbytes for b in strategy.buffers() if getattr(b, "frozen", False))
    frozen += constant_bytes(strategy)
    seconds = _train_seconds(ledger)
    predicted = estimate(ledger.predicted, len(ledger.evaluated_after), "operations")
    predicted += estimate(ledger.online.counted, ledger.online.samples, "operations")
    return {
        "train_seconds": None if seconds is None else round(seconds, 4),
        "predict_seconds": round(ledger.predict_seconds, 4),
        "harness_seconds": round(ledger.harness_seconds, 4),
        "train_flops": round(train_flops(ledger)),
        "predict_flops": round(predicted),
        "flops_method": METHOD,
        "flops_ranked": unranked(ledger) is None,
        "flops_uncounted": ledger.uncounted,
        "samples_delivered": ledger.samples,
        "updates": ledger.updates,
        "state_bytes": ledger.state_bytes,
        "state_bytes_method": strategy.state_bytes_method,
        "memory_bytes": ledger.memory_bytes,
        "frozen_bytes": frozen + pool.frozen_bytes,
        "peak_rss_bytes": peak_rss_bytes(),
        **_encoding(ledger, pool),
    }


def _trained(ledger: Ledger, of: Literal["operations", "updates"]) -> float:
    n_prepares = ledger.prepares - bool(ledger.prepared_last)
    last = ledger.prepared_last or [0, 0]
    return (
        estimate(ledger.learned, ledger.samples, of)
        + estimate(ledger.prepared, n_prepares, of)
        + last[0 if of == "operations" else 1]
    )


def _train_seconds(ledger: Ledger) -> float | None:
    """The seconds of training; None where every experience was counted, since that takes longer.

    Counted calls are assumed to take as long as the others. If all calls of ``prepare`` were counted,
    their own seconds serve, which are too many.
    """
    if ledger.timed_samples == 0:
        return None
    learning = ledger.train_seconds * ledger.samples / ledger.timed_samples
    if ledger.timed_prepares == 0:
        return learning + ledger.counted_prepare_seconds
    return learning + ledger.prepare_seconds * ledger.prepares / ledger.timed_prepares


def _encoding(ledger: Ledger, pool: Pool) -> dict[str, Any]:
    """The costs of the frozen encoder, apart from learning; empty without an encoder.

    Every sample of the pool counts once, whether this run encoded it or found it in the cache, and
    so does every transformed sample that was encoded for this run.
    """
    encoder = pool.describe()
    if encoder is None:
        return {}
    samples = encoder["samples"] + ledger.encoded
    return {
        "encode_flops": samples * encoder["flops_per_sample"],
        "encode_samples": samples,
        "encode_seconds": encoder["seconds"],
    }
