"""EWC that starts from a released Fisher: task 0 of its equations, and what may go wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from leaderboard import synthetic
from small import go, points, pool, record_of, run, write_npz
from torch import Tensor

from clbench import fisher
from clbench.configure.board import DIVISIONS
from clbench.configure.config import resolve_point
from clbench.configure.protocol import Protocol
from clbench.engine.build import Run, prepare
from clbench.engine.execute import Options, execute
from clbench.errors import UsageError
from clbench.fisher import Metadata
from clbench.nets import weights
from clbench.strategy import Batch
from clbench.util import tensor_files

EWC = ("strategy=ewc", "scenario=scole", "scenario.n_tasks=12")
HEAD = ("4.weight", "4.bias")  # of Sequential(ToFloat, Flatten, Linear, ReLU, Linear)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Weights of a short run and their Fisher."""
    r = run("strategy=naive", *EWC[1:], "seed=3")
    strategy: Any = r.strategy()
    strategy.learn(r.stream.experience(0))
    model = strategy.model
    weights.save(tmp_path / "w.safetensors", model.state_dict(), {})
    found = fisher.estimate(model, r.stream.experience(0).x)
    sha256 = tensor_files.sha256(dict(model.named_parameters()))
    fisher.save(tmp_path / "f.safetensors", found, Metadata(weights_sha256=sha256))
    return tmp_path / "w.safetensors", tmp_path / "f.safetensors"


def words(files: tuple[Path, Path], *more: str) -> list[str]:
    w, f = files
    return [*EWC, f"strategy.weights_path={w}", f"strategy.fisher_path={f}", *more]


def flat(strategy: Any, parts: dict[str, Tensor], exclude: tuple[str, ...] = HEAD) -> Tensor:
    return torch.cat(
        [
            (torch.zeros_like(p) if name in exclude else parts[name]).reshape(-1)
            for name, p in strategy.model.named_parameters()
        ]
    )


def history(r: Run, strategy: Any, n: int) -> list[tuple[Tensor, Tensor]]:
    """Learn n tasks; each one's own Fisher, estimated here, and the weights it ended with."""
    found = []
    for t in range(n):
        task = r.stream.experience(t)
        strategy.learn(task)
        parts = fisher.estimate(strategy.model, task.x)
        found.append((flat(strategy, parts, ()), strategy.weights.clone()))
    return found


def test_the_network_starts_at_the_weights_and_is_held_from_the_first_step(files: Any):
    r = run(*words(files, "strategy.lam=10", "strategy.penalty_step=explicit"))
    strategy: Any = r.strategy()
    released = fisher.load(files[1]).fisher
    start = flat(strategy, weights.load(files[0]), ())
    assert torch.equal(strategy.weights, start)
    assert torch.equal(strategy.anchor, start)
    assert torch.equal(strategy.importance, flat(strategy, released))
    with torch.no_grad():
        strategy.weights.add_(0.1)
    task = r.stream.experience(0)
    batch = Batch(task.x, task.y, None, task.classes)
    wanted = strategy.gradient(batch) + 10 * flat(strategy, released) * 0.1
    before = strategy.weights.clone()
    strategy.begin(task)
    strategy.step(batch)
    torch.testing.assert_close(strategy.weights, before - 0.1 * wanted)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_online_the_release_is_not_decayed(files: Any, gamma: float):
    r = run(*words(files, f"strategy.gamma={gamma}"))
    strategy: Any = r.strategy().double()
    released = flat(strategy, fisher.load(files[1]).fisher)
    own = torch.zeros_like(strategy.importance)
    told = history(r, strategy, 12)
    for new, _ in told:
        own = gamma * own + new
    torch.testing.assert_close(strategy.importance, released + own, rtol=1e-6, atol=1e-12)
    assert torch.equal(strategy.anchor, told[-1][1])
    assert ("released" in strategy.state_dict()) == (gamma < 1)


def test_separate_is_the_exact_sum_with_the_release_at_its_own_weights(files: Any):
    r = run(*words(files, "strategy.mode=separate", "strategy.lam=3"))
    strategy: Any = r.strategy().double()
    terms = [(strategy.importance.clone(), strategy.weights.clone())]
    terms += history(r, strategy, 12)
    at = strategy.weights + 0.1
    wanted = sum(f * (at - a) for f, a in terms)
    ours = strategy.importance * (at - strategy.anchor)
    torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("exclude", ["output", "output 2.bias", "none", "2.*"])
def test_what_is_excluded_is_free(files: Any, exclude: str):
    """Its gradient is that of naive training; whatever else has a Fisher is pulled."""
    more = ("strategy.lam=1e6", f"strategy.fisher_exclude={exclude}")
    r = run(*words(files, *more))
    held: Any = r.strategy()
    naive: Any = run(*EWC, f"strategy.weights_path={files[0]}", "strategy.lam=0").strategy()
    task = r.stream.experience(0)
    batch = Batch(task.x, task.y, None, task.classes)
    for strategy in (held, naive):
        strategy.begin(task)
        strategy.step(batch)
    free: dict[str, tuple[str, ...]] = {
        "output": HEAD,
        "output 2.bias": (*HEAD, "2.bias"),
        "none": (),
        "2.*": ("2.weight", "2.bias"),
    }
    named = zip(held.model.named_parameters(), naive.model.parameters(), strict=True)
    for (name, p), q in named:
        assert torch.equal(p, q) == (name in free[exclude]), name


def test_another_number_of_classes_keeps_a_fresh_output_layer(files: Any):
    more = pool(n_classes=6)
    held: Any = run(*words(files), on=more).strategy()
    fresh: Any = run(*EWC, on=more).strategy()
    given = weights.load(files[0])
    for (name, p), q in zip(held.model.named_parameters(), fresh.model.parameters(), strict=True):
        assert torch.equal(p, q if name in HEAD else given[name]), name
    assert (held.per_parameter(held.importance)[-2] == 0).all()
    with pytest.raises(UsageError, match=r"'4.weight' has shape \(4, 8\)"):
        run(*words(files, "strategy.fisher_exclude=none"), on=more).strategy()


def test_a_scratch_restart_is_a_restart_from_the_weights(files: Any):
    r = run("strategy=joint", *EWC[1:], "strategy.budget=scratch", "strategy.lr=1e-9",
            f"strategy.weights_path={files[0]}")  # fmt: skip
    strategy: Any = r.strategy()
    for t in range(2):
        strategy.learn(r.stream.experience(t))
    start = flat(strategy, weights.load(files[0]), ())
    torch.testing.assert_close(strategy.weights, start, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("2.bias"), "lacks tensor '2.bias'"),
        (lambda f: f.update({"2.bias": f["2.bias"].double() + 1e300}), "'2.bias' is too large"),
        (lambda f: f.update({"9.bias": torch.ones(1)}), "'9.bias' is no trainable parameter"),
        (
            lambda f: f.update({"2.bias": torch.ones(9)}),
            r"'2.bias' has shape \(9,\); the model",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(files: Any, change: Callable[[Any], Any], message: str):
    released = fisher.load(files[1])
    change(released.fisher)
    fisher.save(files[1], released.fisher, released.metadata)
    with pytest.raises(UsageError, match=message) as caught:
        run(*words(files)).strategy()
    assert "\n" not in str(caught.value)


def test_an_extra_tensor_that_the_weights_have_is_no_parameter_either(files: Any):
    state = {**weights.load(files[0]), "2.running": torch.ones(3)}
    weights.save(files[0], state, {})
    with pytest.raises(UsageError, match=r"'2.running' is no part of the model"):
        run(*words(files)).strategy()


def test_a_fisher_at_other_weights_is_refused(files: Any):
    other = weights.load(files[0])
    other["4.bias"] = other["4.bias"] + 1e-3
    weights.save(files[0], other, {})
    with pytest.raises(UsageError, match="taken at weights of sha256"):
        run(*words(files)).strategy()
    released = fisher.load(files[1])
    unknown = replace(released.metadata, weights_sha256=None)
    fisher.save(files[1], released.fisher, unknown)
    with pytest.raises(UsageError, match="does not say at which weights"):
        run(*words(files)).strategy()


def test_a_release_without_the_output_layer_asks_nothing_of_it(files: Any):
    released = fisher.load(files[1])
    body = {name: t for name, t in released.fisher.items() if name not in HEAD}
    state = weights.load(files[0])
    sha256 = tensor_files.sha256({name: state[name] for name in body})
    fisher.save(files[1], body, Metadata(weights_sha256=sha256))
    state["4.bias"] = state["4.bias"] + 1  # a head of one's own
    weights.save(files[0], state, {})
    strategy: Any = run(*words(files)).strategy()
    assert torch.equal(strategy.importance, flat(strategy, released.fisher))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("strategy.fisher_path=nosuch",), "strategy.fisher_path=nosuch: no such file"),
        (("strategy.weights_path=nosuch",), "strategy.weights_path=nosuch: no such file"),
        (("strategy.fisher_exclude=none",), "needs strategy.fisher_path"),
        (("strategy.weights_sha256=00",), "goes with strategy.weights_path"),
        (("strategy.weights_path={w}", "strategy.weights_sha256=00"), "it is another file"),
    ],
)
def test_settings(files: Any, extra: tuple[str, ...], message: str):
    given = [word.format(w=files[0], f=files[1]) for word in extra]
    with pytest.raises(UsageError, match=message):
        run(*EWC, *given)


def test_without_weights_the_network_itself_must_start_where_it_was_taken(files: Any):
    there = run(*EWC)
    state = {n: p.detach().clone() for n, p in there.strategy().model.named_parameters()}  # type: ignore[attr-defined]
    released = fisher.load(files[1])
    sha256 = tensor_files.sha256({name: state[name] for name in released.fisher})
    fisher.save(files[1], released.fisher, Metadata(weights_sha256=sha256))
    alone = f"strategy.fisher_path={files[1]}"
    strategy: Any = run(*EWC, alone).strategy()
    assert torch.equal(strategy.importance, flat(strategy, released.fisher))
    assert strategy.pretrained, "what it knows of other data came with the file"
    with pytest.raises(UsageError, match=r"the network as built \(strategy.weights_path gives"):
        run(*EWC, alone, "seed=7").strategy()


def test_a_run_is_of_the_content_of_its_files_and_not_of_their_place(files: Any, tmp_path: Path):
    here = run(*words(files))
    moved = tuple(path.rename(tmp_path / f"moved-{path.name}") for path in files)
    there = run(*words(moved))  # type: ignore[arg-type]
    assert here.hash8 == there.hash8
    state = weights.load(moved[0])
    weights.save(moved[0], state, {"said": "something else"})
    assert run(*words(moved)).hash8 != here.hash8  # type: ignore[arg-type]
    assert run(*EWC).hash8 != here.hash8


@pytest.mark.parametrize("name", ["naive", "ewc"])
def test_such_runs_are_pretrained_and_tell_no_folder(files: Any, name: str):
    given = words(files) if name == "ewc" else [*EWC[1:], f"strategy.weights_path={files[0]}"]
    r = run(f"strategy={name}", *(w for w in given if not w.startswith("strategy=")))
    record = record_of(r, *go(r))
    assert record.status == "completed"
    assert record.declares["pretrained"] is True
    assert record.config["strategy"]["weights_path"] == "w.safetensors"
    assert len(record.config["strategy"]["weights_sha256"]) == 64
    assert str(files[0].parent) not in json.dumps(asdict(record))
    plain = run(f"strategy={name}", *EWC[1:])
    assert record_of(plain, *go(plain)).declares["pretrained"] is False


def test_all_divisions_but_the_open_one_are_from_scratch(files: Any, tmp_path: Path):
    """Refused before training, not after it by the board's rules."""
    r = run(*words(files))
    for division in DIVISIONS:
        protocol = Protocol(synthetic.board(tmp_path / "tiny"), division)
        entered = replace(r, config=replace(r.config, protocol=protocol))
        if division != "open":
            with pytest.raises(UsageError, match=f"{division} division starts from scratch"):
                entered.strategy()
        else:
            assert entered.strategy().pretrained


@pytest.mark.parametrize("gamma", ["1", "0.5"])
def test_resumes_to_the_same_bits(
    files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gamma: str
):
    monkeypatch.setattr(
        "clbench.results.plots.save_curve", lambda records, path: path.write_bytes(b"png")
    )
    npz = write_npz(tmp_path / "blobs.npz")
    given = words(files, f"strategy.gamma={gamma}")

    def go_on(out: str, until: int) -> Any:
        [point] = points(*given, f"max_tasks={until}", npz=npz)
        options = Options(tmp_path / out, quiet=True, curve=False)
        return execute(prepare(resolve_point(point)), options)[0]

    whole = go_on("whole", 8)
    go_on("parts", 3)
    assert go_on("parts", 8).predictions_sha256 == whole.predictions_sha256
    [plain] = points(*EWC, f"strategy.gamma={gamma}", "max_tasks=8", npz=npz)
    other = execute(
        prepare(resolve_point(plain)), Options(tmp_path / "p", quiet=True, curve=False)
    )[0]
    assert other.predictions_sha256 != whole.predictions_sha256
