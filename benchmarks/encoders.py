"""What an encoder is worth on a data set: RankMe without labels, and a linear probe's risk in parts.

RankMe (Garrido et al. 2023, ICML, arXiv 2210.02885): with s the singular values of the features of n
images, ``(n, d)``, p = s / sum s + 1e-7 and RankMe = exp(-sum p log p), from 1 to min(n, d).

The risk decomposition (Dubois et al. 2023, ICML, arXiv 2302.03068) splits the test error of a linear
probe into four terms that add up to it:

    approximation      R_supervised                      a supervised network on its own training data
    usability          R_train - R_supervised            the probe on the data that it was fitted to
    probe              R_held_out - R_train              a probe on a held-out part of training data
    encoder            R_test - R_held_out               test data, with the same probe

Which risk estimates which term is from memory, unverified. Deviations: risks are shares of wrong
answers; the supervised network is an MLP on pixels, one for all encoders, so approximation is that of
the data and not of an encoder's architecture; our encoders never saw the training split, so their
generalisation term has the difference of the two samples alone, and may be negative; held-out risk is
the mean over folds, each with a probe fitted to the others, and test risk the mean of these probes. The
probe is logistic regression on standardised features.

    python -m benchmarks.encoders --data mnist5k --images 600
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clbench.configure.config import resolve_point, stand_in_words
from clbench.configure.sweep import sweep
from clbench.data.pool import Pool, Split
from clbench.engine.build import load_pool
from clbench.errors import UsageError

ENCODERS = ("none", "identity", "random:mlp", "vit_tiny", "efficientnet_lite0", "vit_s14")
EPSILON = 1e-7
BATCH, FOLDS = 32, 5
Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Predict = Callable[[Array], Labels]


@dataclass(frozen=True)
class Risks:
    """Shares of wrong answers, and the parts of the last."""

    supervised: float
    train: float
    held_out: float
    test: float

    def parts(self) -> dict[str, float]:
        """The four terms; they add up to ``test``."""
        return {
            "approximation": self.supervised,
            "usability": self.train - self.supervised,
            "probe": self.held_out - self.train,
            "encoder": self.test - self.held_out,
        }


def rankme(z: Array) -> float:
    """RankMe of features ``(n, d)``."""
    s = np.linalg.svd(z, compute_uv=False)
    p = s / s.sum() + EPSILON
    return float(np.exp(-(p * np.log(p)).sum()))


def logistic(z: Array, y: Labels) -> Predict:
    """A linear probe."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    probe.fit(z, y)
    return lambda x: np.asarray(probe.predict(x))


def network(x: Array, y: Labels) -> Predict:
    """A supervised network on pixels."""
    from sklearn.neural_network import MLPClassifier

    found = MLPClassifier((256,), random_state=0, max_iter=400).fit(x, y)
    return lambda z: np.asarray(found.predict(z))


def wrong(predict: Predict, z: Array, y: Labels) -> float:
    """The share of wrong answers."""
    return float((predict(z) != y).mean())


def risks(
    train: tuple[Array, Labels],
    test: tuple[Array, Labels],
    supervised: float,
    fit: Callable[[Array, Labels], Predict] = logistic,
    folds: int = FOLDS,
) -> Risks:
    """Estimate the risks of features of a training and a test split.

    Sample i is in fold ``i mod folds``; samples are to be in random order.
    """
    z, y = train
    fold = np.arange(len(y)) % folds
    probes = [fit(z[fold != k], y[fold != k]) for k in range(folds)]
    held = [wrong(probe, z[fold == k], y[fold == k]) for k, probe in enumerate(probes)]
    return Risks(
        supervised,
        wrong(fit(z, y), z, y),
        float(np.mean(held)),
        float(np.mean([wrong(probe, *test) for probe in probes])),
    )


@torch.inference_mode()
def encoded(network: nn.Module, x: Tensor) -> Array:
    """Features ``(n, d)`` of raw samples."""
    parts = [network.eval()(part).flatten(1) for part in x.split(BATCH)]
    return torch.cat(parts).double().numpy()


def drawn(pool: Pool, split: Split, n: int) -> tuple[Tensor, Labels]:
    """Samples of a split and their labels, drawn with a fixed seed."""
    index = np.random.default_rng(0).permutation(pool.size(split))[:n]
    return pool.gather(split, index), pool.labels(split)[index]


def table(data: str, encoders: Sequence[str], n: int, further: Sequence[str]) -> list[str]:
    """One line for each encoder; one that is not there is left out, and its line says why."""
    point = sweep([*stand_in_words(), f"data={data}", *further])[0]
    pool = load_pool(resolve_point(point), torch.device("cpu"))
    (x, y), (test_x, test_y) = drawn(pool, "train", n), drawn(pool, "test", n)
    flat = x.flatten(1).double().numpy() * pool.scale
    supervised = wrong(network(flat, y), flat, y)
    heads = ("encoder", "d", "RankMe", "test", *Risks(0, 0, 0, 0).parts())
    lines = [f"| {' | '.join(heads)} |", f"|---|{'--:|' * (len(heads) - 1)}"]
    for name in encoders:
        if name == "none":
            z, test_z = flat, test_x.flatten(1).double().numpy() * pool.scale
        else:
            try:
                encoder = resolve_point({**point, "encoder": name}).encoder
                net = encoder.build(pool.input_shape, pool.scale)
                z, test_z = encoded(net, x), encoded(net, test_x)
            except UsageError as error:
                lines.append(f"| {name} | left out: {error} |")
                continue
        found = risks((z, y), (test_z, test_y), supervised)
        parts = (f"{value:.1%}" for value in found.parts().values())
        cells = (name, f"{z.shape[1]}", f"{rankme(z):.1f}", f"{found.test:.1%}", *parts)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist5k")
    parser.add_argument("--images", type=int, default=600, help="of each split")
    parser.add_argument("--encoder", action="append", help=f"default: {', '.join(ENCODERS)}")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="further settings")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for line in table(asked.data, asked.encoder or ENCODERS, asked.images, asked.overrides):
        print(line, flush=True)


if __name__ == "__main__":
    main()
