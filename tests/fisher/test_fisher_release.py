"""Releases of Fisher information: round trips, refusals, remedies, reports, cards."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clbench import fisher
from clbench.errors import UsageError
from clbench.fisher import Metadata, Release, report
from clbench.fisher.card import card
from clbench.fisher.change import changed
from clbench.fisher.convert import converted
from clbench.nets import weights
from clbench.util import tensor_files

FISHER = {"0.weight": torch.tensor([[1.0, 0.0], [4.0, 0.25]]), "0.bias": torch.tensor([2.0, 1e-3])}
META = Metadata(
    architecture="mlp hidden=[2]",
    weights_sha256="ab" * 32,
    estimator="exact",
    n_samples=10,
    seed=0,
    normalisation="mean over samples",
    changes=("floored at 0.1",),
)


def refused(call: Any) -> str:
    with pytest.raises(UsageError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_round_trip(tmp_path: Path):
    path = tmp_path / "f.safetensors"
    fisher.save(str(path), FISHER, META)
    found = fisher.load(path)
    assert found.metadata == META
    assert found.fisher.keys() == FISHER.keys()
    assert all(torch.equal(found.fisher[name], FISHER[name]) for name in FISHER)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.tensor([1.0, -1e-9]), "negative"),
        (torch.tensor([1.0, torch.nan]), "NaN"),
        (torch.tensor([torch.inf]), "infinite"),
        (torch.tensor([1, 2]), "need floats"),
    ],
)
def test_what_is_no_fisher_is_neither_written_nor_read(tmp_path: Path, tensor: Tensor, reason: str):
    path = tmp_path / "f.safetensors"
    bad = {**FISHER, "1.bias": tensor}
    message = refused(lambda: fisher.save(path, bad, META))
    assert reason in message
    assert "'1.bias'" in message
    assert not path.exists()
    header = json.dumps({"format": 1, **META.as_dict()})
    path.write_bytes(safetensors.torch.save(bad, {"clbench.fisher": header}))
    message = refused(lambda: fisher.load(path))
    assert reason in message
    assert "'1.bias'" in message


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "says nothing of its origin"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "format"),
        ("{}", "format 'None'"),
        ('{"format": 2}', "format '2'"),
        ('{"format": 1, "nonsense": 1}', "no field 'nonsense'"),
        ('{"format": 1, "n_samples": -1}', "n_samples is malformed"),
        ('{"format": 1, "n_samples": true}', "n_samples is malformed"),
        ('{"format": 1, "seed": 1e99}', "seed is malformed"),
        ('{"format": 1, "weights_sha256": "abc"}', "weights_sha256 is malformed"),
        ('{"format": 1, "estimator": ["exact"]}', "estimator is malformed"),
        ('{"format": 1, "data": "\\u001b[31m"}', "data is malformed"),
        ('{"format": 1, "changes": "clip"}', "changes is malformed"),
        ('{"format": 1, "changes": [1]}', "changes is malformed"),
    ],
)
def test_malformed_metadata(tmp_path: Path, header: str | None, reason: str):
    path = tmp_path / "f.safetensors"
    said = None if header is None else {"clbench.fisher": header}
    path.write_bytes(safetensors.torch.save(FISHER, said))
    assert reason in refused(lambda: fisher.load(path))


entries = st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=40)


@settings(deadline=None)
@given(entries)
def test_report_is_that_of_numpy(values: list[float]):
    x = np.array(values)
    half = len(x) // 2
    parts = {"a": torch.tensor(x[:half]), "b": torch.tensor(x[half:])}
    *rows, whole = report.layers(parts)
    assert [row.name for row in rows] == ["a", "b"]
    assert whole.size == sum(row.size for row in rows) == len(x)
    assert whole.zeros == (x == 0).mean()
    assert whole.quantiles == pytest.approx(np.quantile(x, report.LEVELS))
    assert whole.trace == pytest.approx(x.sum())
    positive = x[x > 0]
    wanted = None
    if len(positive):
        wanted = min(float(positive.max()) / float(positive.min()), sys.float_info.max)
    assert whole.condition == pytest.approx(wanted)


@settings(deadline=None)
@given(entries, st.floats(0.01, 100), st.randoms())
def test_agreement(values: list[float], factor: float, random: Any):
    a = {"x": torch.tensor(values, dtype=torch.float64)}
    [same, _] = report.compare(a, {"x": a["x"] * factor})
    if same.overlap is not None:
        assert same.overlap == pytest.approx(1)
        assert same.ratio == pytest.approx(factor)
    if same.correlation is not None:
        assert same.correlation == pytest.approx(1)
    random.shuffle(values)
    b = {"x": torch.tensor(values, dtype=torch.float64)}
    [one, _], [other, _] = report.compare(a, b), report.compare(b, a)
    assert one.overlap == pytest.approx(other.overlap)
    assert one.correlation == pytest.approx(other.correlation)
    assert one.overlap is None or -1e-9 <= one.overlap <= 1 + 1e-9
    if one.correlation is not None:
        wanted = np.corrcoef(a["x"].numpy(), b["x"].numpy())[0, 1]
        assert one.correlation == pytest.approx(wanted, abs=1e-6)


def test_disjoint_diagonals_do_not_overlap():
    a, b = torch.tensor([1.0, 0, 0, 0]), torch.tensor([0, 0, 3.0, 1])
    [row, _] = report.compare({"x": a}, {"x": b})
    assert (row.overlap, row.top, row.ratio) == (0, 0, 4)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"0.weight": torch.ones(2, 2)}, "only one of the two has tensor '0.bias'"),
        ({**FISHER, "1.bias": torch.ones(2)}, "only one of the two has tensor '1.bias'"),
        ({**FISHER, "0.bias": torch.ones(3)}, "tensor '0.bias' has shape"),
    ],
)
def test_only_releases_of_one_network_compare(other: dict[str, Tensor], message: str):
    assert message in refused(lambda: report.compare(FISHER, other))


@settings(deadline=None)
@given(entries, st.floats(0.01, 0.99), st.floats(1e-5, 0.5))
def test_remedies(values: list[float], clip: float, floor: float):
    x = np.array(values)
    release = Release({"a": torch.tensor(x)}, META)
    bound = float(np.quantile(x, clip, method="inverted_cdf"))
    if bound == 0:
        assert refused(lambda: changed(release, clip=clip))
        return
    clipped = changed(release, clip=clip)
    np.testing.assert_array_equal(clipped.fisher["a"], x.clip(max=bound))
    both = changed(release, clip=clip, floor=floor)
    np.testing.assert_array_equal(both.fisher["a"], x.clip(floor * bound, bound))
    condition = report.layers(both.fisher)[-1].condition
    assert condition is not None
    assert condition <= 1 / floor * (1 + 1e-9)
    scaled = changed(release, unit_trace=True)
    np.testing.assert_allclose(scaled.fisher["a"], x / math.fsum(x))
    assert scaled.metadata.normalisation == "trace 1"
    assert len(both.metadata.changes) == len(META.changes) + 2
    assert release.metadata == META
    assert torch.equal(release.fisher["a"], torch.tensor(x))


@pytest.mark.parametrize("how", [{"clip": 1.0}, {"clip": -1}, {"floor": 0.0}, {"floor": math.nan}])
def test_remedies_out_of_range(how: dict[str, float]):
    assert "between 0 and 1" in refused(lambda: changed(Release(FISHER, META), **how))


def test_nothing_can_be_done_for_zeros():
    nothing = Release({"a": torch.zeros(3)}, META)
    assert changed(nothing).fisher["a"].tolist() == [0, 0, 0]
    for how in ({"clip": 0.5}, {"floor": 0.5}, {"unit_trace": True}):
        assert "positive" in refused(lambda how=how: changed(nothing, **how))


def given_weights(path: Path) -> dict[str, Tensor]:
    state = {**FISHER, "running": torch.ones(2)}
    weights.save(path, state, {})
    return state


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".safetensors"])
def test_a_dictionary_becomes_a_release(tmp_path: Path, suffix: str):
    path, at = tmp_path / f"theirs{suffix}", tmp_path / "w.safetensors"
    state = given_weights(at)
    if suffix == ".pt":
        torch.save(FISHER, path)
    elif suffix == ".npz":
        np.savez(path, **{name: t.numpy() for name, t in FISHER.items()})
    else:
        tensor_files.write(path, FISHER, {"format": "pt"})
    found = converted(path, at, ["estimator=empirical", "n_samples=10000"])
    assert all(torch.equal(found.fisher[name], FISHER[name]) for name in FISHER)
    named = {name: state[name] for name in FISHER}
    sha256 = tensor_files.sha256(named)
    assert found.metadata == Metadata(estimator="empirical", n_samples=10000, weights_sha256=sha256)
    assert "--weights" in refused(lambda: converted(path, None, []))


def test_a_release_keeps_what_it_says(tmp_path: Path):
    path, at = tmp_path / "f.safetensors", tmp_path / "w.safetensors"
    fisher.save(path, FISHER, META)
    assert converted(path, None, ["data=digits"]).metadata == replace(META, data="digits")
    given_weights(at)
    assert "other weights" in refused(lambda: converted(path, at, []))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("estimater=exact", "did you mean 'estimator'"),
        ("estimator", "expected field=value"),
        ("n_samples=many", "whole number"),
        ("weights_sha256=00", "expected field=value"),
    ],
)
def test_words_of_metadata(tmp_path: Path, word: str, message: str):
    path = tmp_path / "f.safetensors"
    fisher.save(path, FISHER, META)
    assert message in refused(lambda: converted(path, None, [word]))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"0.weight": torch.ones(2, 2)}, "lacks tensor '0.bias'"),
        ({**FISHER, "0.bias": torch.ones(3)}, "'0.bias' has shape"),
    ],
)
def test_weights_that_are_not_those(tmp_path: Path, state: dict[str, Tensor], message: str):
    torch.save(FISHER, tmp_path / "f.pt")
    weights.save(tmp_path / "w.safetensors", state, {})
    assert message in refused(lambda: converted(tmp_path / "f.pt", tmp_path / "w.safetensors", []))


def test_a_card_says_all_and_escapes_all():
    hostile = "<script>|`*x*` [a](http://b)"
    named = {hostile: torch.ones(1), **FISHER}
    said = replace(META, data=hostile)
    text = card(Release(named, said), report.layers(named), hostile)
    assert "<script>" not in text
    assert "[a](" not in text
    assert text.count("\\|") >= 3
    for value in asdict(META).values():
        if isinstance(value, str):
            assert value.replace("[", "\\[").replace("]", "\\]") in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and line.count(" | ") == 8]
    assert len(rows) == 1 + 3 + 1  # heads, tensors, all
    assert "Poorly conditioned" not in text
    poor = {"a": torch.tensor([1.0, 1e-9])}
    assert "Poorly conditioned" in card(Release(poor, META), report.layers(poor), "f")
