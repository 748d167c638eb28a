"""``clbench export`` and ``clbench fisher``: from a run to a released Fisher and back into a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Ran, clbench, tiny

from clbench import fisher
from clbench.fisher import Metadata
from clbench.fisher.estimators import LABEL_SOURCE
from clbench.nets import weights
from clbench.util import tensor_files

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("quick")
LINEAR = ("--out", "f.safetensors", "--samples", "all", "-q")


@pytest.fixture
def run(capsys: Capture, npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a finished run; the current folder is empty but for it."""
    monkeypatch.chdir(tmp_path)
    assert clbench(capsys, "run", *tiny(npz), "strategy=naive", "-q").code == 0
    return next(Path("runs").glob("scole/naive-*/seed0"))


def ok(ran: Ran) -> str:
    assert (ran.code, ran.err) == (0, "")
    return ran.out


def failed(ran: Ran) -> str:
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("clbench: error: ")
    assert ran.err.count("\n") == 1
    return ran.err


def of_linear(npz: Path) -> list[str]:
    return ["data=npz", f"data.path={npz}", "model=linear", "device=cpu"]


def test_train_export_compute_show_compare_convert_and_fine_tune(
    capsys: Capture, npz: Path, run: Path
):
    ok(clbench(capsys, "export", run, "--weights", "w.safetensors"))
    given = weights.load(Path("w.safetensors"))
    assert list(map(str, sorted(given))) == ["2.bias", "2.weight", "4.bias", "4.weight"]
    data = [word for word in tiny(npz) if not word.startswith("scenario")]
    for estimator in LABEL_SOURCE:
        words = [*data, "--estimator", estimator, "--weights", "w.safetensors", "--samples", "40"]
        ran = clbench(
            capsys, "fisher", "compute", *words, "--out", f"{estimator}.safetensors", "-q"
        )
        assert ran.code == 0
        found = fisher.load(f"{estimator}.safetensors")
        assert found.metadata.weights_sha256 == tensor_files.sha256(given)
        assert found.metadata.label_source == LABEL_SOURCE[estimator]
        assert (found.metadata.n_samples, found.metadata.estimator) == (40, estimator)
        assert found.metadata.batch_size == (128 if estimator == "batched" else 1)
        assert found.metadata.architecture == 'mlp hidden=[8] head="linear"'
        assert "/" not in json.dumps(found.metadata.as_dict()).replace("p(y|x)", "")
        assert Path(f"{estimator}.md").read_text().startswith(f"# {estimator}.safetensors")
    shown = clbench(capsys, "fisher", "show", "exact.safetensors").out
    assert "4.weight" in shown
    assert "p(y|x), all classes" in shown
    as_json = json.loads(clbench(capsys, "fisher", "show", "exact.safetensors", "--json").out)
    assert [row["name"] for row in as_json["layers"]] == [*sorted(given), "all"]
    both = ("exact.safetensors", "sampled.safetensors")
    assert "overlap" in ok(clbench(capsys, "fisher", "compare", *both))
    rows = json.loads(ok(clbench(capsys, "fisher", "compare", *both, "--json")))
    assert 0.5 < rows[-1]["overlap"] < 1
    words = ["--clip", "0.99", "--floor", "1e-3", "--unit-trace", "--out", "better.safetensors"]
    ok(clbench(capsys, "fisher", "convert", "exact.safetensors", *words))
    assert len(fisher.load("better.safetensors").metadata.changes) == 3
    tuned = [*tiny(npz), "strategy=ewc", "strategy.weights_path=w.safetensors"]
    ran = clbench(capsys, "run", *tuned, "strategy.fisher_path=better.safetensors", "-q")
    assert ran.code == 0
    [record] = [json.loads(p.read_text()) for p in Path("runs").glob("scole/ewc-*/*/record.json")]
    assert record["declares"]["pretrained"] is True


def test_a_linear_network_has_its_closed_form(
    capsys: Capture, npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with np.load(npz) as arrays:
        x, y = torch.from_numpy(arrays["train_x"]), torch.from_numpy(arrays["train_y"])
    head = torch.nn.Linear(6, 4)
    state = {f"2.{name}": t for name, t in head.state_dict().items()}
    weights.save(Path("w.safetensors"), state, {})
    p = head(x).softmax(1).detach()
    squares = {"exact": p * (1 - p), "empirical": (p - torch.eye(4)[y]).square()}
    for estimator, s in squares.items():
        words = [*of_linear(npz), "--weights", "w.safetensors", "--estimator", estimator, *LINEAR]
        assert clbench(capsys, "fisher", "compute", *words, "--overwrite").code == 0
        found = fisher.load("f.safetensors").fisher
        torch.testing.assert_close(found["2.weight"], s.T @ x.square() / len(x))
        torch.testing.assert_close(found["2.bias"], s.mean(0))


def test_fresh_weights_are_those_of_a_run_of_the_seed(
    capsys: Capture, npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    data = [w for w in tiny(npz) if not w.startswith("scenario")]
    for seed, samples in ((1, "all"), (1, "7"), (2, "all")):
        words = [
            *data,
            f"seed={seed}",
            "--samples",
            samples,
            "--out",
            f"{seed}-{samples}.safetensors",
        ]
        assert clbench(capsys, "fisher", "compute", *words, "-q").code == 0
    one, few, two = (fisher.load(f"{k}.safetensors") for k in ("1-all", "1-7", "2-all"))
    assert one.metadata.weights_sha256 == few.metadata.weights_sha256
    assert one.metadata.weights_sha256 != two.metadata.weights_sha256
    assert not torch.equal(one.fisher["2.bias"], few.fisher["2.bias"])
    from small import run as build

    strategy: Any = build("scenario=scole", "strategy=naive", "seed=1").strategy()
    fresh = dict(strategy.model.named_parameters())
    assert one.metadata.weights_sha256 == tensor_files.sha256(fresh)


def test_the_output_layer_may_be_left_out(
    capsys: Capture, npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    data = [w for w in tiny(npz) if not w.startswith("scenario")]
    words = [*data, "--exclude", "output", *LINEAR]
    assert clbench(capsys, "fisher", "compute", *words).code == 0
    assert sorted(fisher.load("f.safetensors").fisher) == ["2.bias", "2.weight"]


BAD = {
    "export nosuch --weights w.safetensors": "neither a run's folder",
    "export there.pt --weights there.pt": "exists",
    "export there.pt --weights no/w.safetensors": "there is no folder",
    "export there.pt --weights w.safetensors": "'nested' is dict",
    "fisher compute --out f.pt": "must end in .safetensors",
    "fisher compute --out there.safetensors": "exists",
    "fisher compute --samples some --out f.safetensors": "must be a positive integer, or all",
    "fisher compute --samples 0 --out f.safetensors": "--samples 0: the training split has",
    "fisher compute --samples 9999 --out f.safetensors": "the training split has",
    "fisher compute --estimator true --out f.safetensors": "invalid choice",
    "fisher compute strategy=ewc --out f.safetensors": "strategy= does not apply to an estimate",
    "fisher compute seed=0,1 --out f.safetensors": "one estimate at a time",
    "fisher compute --samples 9 --exclude hed.* --out f.safetensors": "no parameter has such a name",
    "fisher compute --samples 9 --exclude * --out f.safetensors": "no trainable parameter is left",
    "fisher compute --samples 9 --weights nosuch --out f.safetensors": "nosuch: no such file",
    "fisher compute --samples 9 --weights there.safetensors --out f.safetensors": "lacks tensor",
    "fisher compute --samples 9 --batch-size 0 --out f.safetensors": "both must be >= 1",
    "fisher show nosuch": "no such file",
    "fisher show there.pt": "safetensors file",
    "fisher compare there.safetensors nosuch": "no such file",
    "fisher convert there.safetensors --out there.safetensors": "exists",
    "fisher convert there.safetensors --clip 2 --out f.safetensors": "between 0 and 1",
    "fisher convert there.safetensors estimater=x --out f.safetensors": "mean 'estimator'",
    "fisher convert there.pt --out f.safetensors": "'nested' is dict",
    "fisher nosuch": "invalid choice",
    "fisher": "ACTION",
}


@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_one_line_and_nothing_written(
    capsys: Capture, npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
):
    monkeypatch.chdir(tmp_path)
    torch.save({"nested": {}}, "there.pt")
    fisher.save("there.safetensors", {"a": torch.ones(3)}, Metadata(weights_sha256="0" * 64))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    words = line.split()
    if words[:2] == ["fisher", "compute"]:
        words[2:2] = of_linear(npz)
    assert BAD[line] in failed(clbench(capsys, *words))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_with_a_bad_release_is_one_line_and_nothing_written(
    capsys: Capture, npz: Path, run: Path
):
    ok(clbench(capsys, "export", run, "--weights", "w.safetensors"))
    fisher.save("f.safetensors", {"2.bias": torch.ones(8)}, Metadata(weights_sha256="0" * 64))
    before = sorted(Path().rglob("*"))
    paths = ["strategy.fisher_path=f.safetensors", "strategy.weights_path=w.safetensors"]
    message = failed(clbench(capsys, "run", *tiny(npz), "strategy=ewc", *paths))
    assert "f.safetensors: lacks tensor '2.weight'" in message
    Path("f.safetensors").write_bytes(Path("f.safetensors").read_bytes()[:-8])
    message = failed(clbench(capsys, "run", *tiny(npz), "strategy=ewc", *paths))
    assert "is not a whole safetensors file" in message
    assert sorted(Path().rglob("*")) == before
