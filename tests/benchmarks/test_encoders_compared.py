"""What an encoder is worth: closed forms of RankMe, and the identity of the decomposition."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.encoders import Array, Labels, Predict, Risks, rankme, risks, table


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_rankme_of_equal_singular_values_is_the_rank(rank: int):
    rng = np.random.default_rng(0)
    left = np.linalg.qr(rng.normal(size=(40, rank)))[0]
    right = np.linalg.qr(rng.normal(size=(8, rank)))[0]
    assert rankme(7 * left @ right.T) == pytest.approx(rank, rel=2e-5)


def test_rankme_of_two_values_is_their_entropy():
    z = np.zeros((5, 2))
    z[0, 0], z[1, 1] = 3, 1
    wanted = np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert rankme(z) == pytest.approx(wanted, rel=1e-5)
    assert rankme(z * 100) == pytest.approx(rankme(z))


def nearest(z: Array, y: Labels) -> Predict:
    """The label of the nearest training sample: no error on its own data."""
    return lambda x: y[np.abs(x[:, None, 0] - z[None, :, 0]).argmin(1)]


def test_risks_by_hand():
    """Six samples on a line in two folds; the label of the fourth and of a test sample is wrong."""
    z = np.array([[0.0], [1], [10], [11], [2], [12]])
    y = np.array([0, 0, 1, 0, 0, 1])
    test = np.array([[0.4], [11.4]]), np.array([0, 1])
    found = risks((z, y), test, 0.25, nearest, folds=2)
    # Fold 0 holds 0, 10, 2; asked of 1, 11, 12 it is answered 0, 0, 1: 10 is wrong. Fold 1 holds 1,
    # 11, 12; asked of 0, 10, 2 it is answered 0, 1, 0: 11 is wrong. The probe of 1, 11, 12 errs on
    # 11.4, the other does not.
    assert found == Risks(0.25, 0.0, pytest.approx(1 / 3), pytest.approx(0.25))
    parts = found.parts()
    assert parts["usability"] == -0.25
    assert sum(parts.values()) == pytest.approx(found.test)


def test_the_table_has_a_line_for_each_encoder():
    lines = table("digits", ("none", "vit_tiny", "nonsense"), 60, ())
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| none", "| vit_tiny", "| nonsense"]
    assert "left out: unknown encoder" in lines[4]
    cells = lines[2].strip("| ").split(" | ")
    total = sum(float(cell.rstrip("%")) for cell in cells[4:])
    assert total == pytest.approx(float(cells[3].rstrip("%")), abs=0.2)
