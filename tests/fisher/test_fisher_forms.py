"""How values of a Fisher are stored, and the part of an estimate that is kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from clbench import fisher
from clbench.engine import fisher_partial
from clbench.engine.fisher import Request, compute, configuration
from clbench.engine.fisher_partial import KeptPartial
from clbench.errors import UsageError
from clbench.fisher import Metadata, forms, release, report
from clbench.fisher.card import card
from clbench.util import tensor_files


def values() -> dict[str, Tensor]:
    """Over twelve orders of magnitude, with zeros, and a tensor of zeros."""
    generator = torch.Generator().manual_seed(0)
    spread = 10 ** (12 * torch.rand(30, 40, generator=generator) - 12)
    spread[::7] = 0
    return {"a.weight": spread, "a.bias": torch.zeros(3), "b": torch.tensor(0.25)}


@pytest.mark.parametrize(
    ("form", "share", "worst"), [("float32", 1.0, 0), ("bfloat16", 0.5, 2**-8), ("8bit", 0.3, 0.06)]
)
def test_a_form_keeps_zeros_and_each_value_to_its_share(
    form: forms.Form, share: float, worst: float, tmp_path: Path
):
    exact, path = values(), tmp_path / "f.safetensors"
    said = fisher.save(path, exact, Metadata(estimator="exact"), form)
    found = fisher.load(path)
    assert found.metadata == said.metadata
    errors = [0.0]
    for name, tensor in exact.items():
        assert torch.equal(found.fisher[name], said.fisher[name])
        assert found.fisher[name].shape == tensor.shape
        assert torch.equal(found.fisher[name] == 0, tensor == 0)
        positive = tensor[tensor > 0].double()
        errors += ((found.fisher[name][tensor > 0].double() / positive) - 1).abs().tolist()
    assert max(errors) <= worst
    size = sum(t.nbytes for t in tensor_files.read(path)[0].values())
    assert size / sum(t.nbytes for t in exact.values()) <= share
    text = card(found, report.layers(found.fisher), path.name)
    if form == "float32":
        assert "Error" not in text
        assert found.metadata.stored is None
    else:
        [percent] = re.findall(r"at most ([0-9.]+)% of a value", str(found.metadata.error))
        assert float(percent) == pytest.approx(100 * max(errors), abs=0.006)
        assert f"at most {percent}% of a value" in text.replace("\\", "")


def test_levels_are_even_on_a_log_scale():
    """256 values that lie on the levels come back as they were, and no two of them alike."""
    exact = {"a": (2.0 ** torch.linspace(-20, 3, 255, dtype=torch.float64)).float()}
    coded = forms.stored(exact, "8bit")
    assert coded["a"].tolist() == [*range(1, 256)]
    torch.testing.assert_close(forms.restored(coded, "")["a"], exact["a"], rtol=1e-5, atol=0)


@pytest.mark.parametrize("lacks", ["a.weight::low", "a.weight::high"])
def test_blocks_without_ends_are_refused(lacks: str, tmp_path: Path):
    path = tmp_path / "f.safetensors"
    fisher.save(path, values(), Metadata(), "8bit")
    tensors, header = tensor_files.read(path)
    del tensors[lacks]
    del header[release.KEY]
    with pytest.raises(UsageError, match=r"there: tensor 'a.weight' is not 8 bits"):
        forms.restored(tensors, "there")


WORDS = ["data=digits", "model=mlp", "seed=3"]


def test_an_estimate_that_was_stopped_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    request = Request(configuration(WORDS), "sampled", 30)
    whole, kept = compute(request), fisher_partial.path_of(tmp_path / "f.safetensors")
    monkeypatch.setattr("clbench.fisher.estimators.INPUTS_AT_ONCE", 64 * 7)
    chunked = compute(request)
    write, seen = KeptPartial.write, []

    def stop(self: KeptPartial) -> None:
        write(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(fisher_partial, "EVERY", 0.0)
    monkeypatch.setattr(KeptPartial, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        compute(request, kept=kept)
    monkeypatch.setattr(KeptPartial, "write", write)
    found = compute(request, seen.append, kept)
    assert seen == [14, 21, 28, 30]
    for name, value in found.fisher.items():
        assert torch.equal(value, chunked.fisher[name])
        torch.testing.assert_close(value, whole.fisher[name])
    other = Request(configuration(WORDS), "exact", 30)
    with pytest.raises(UsageError, match=r"f.partial.safetensors: is the part of another estimate"):
        compute(other, kept=kept)
