"""precision=bf16 and fp16: what is computed in it, what is not, and the scale of the loss."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import small
import torch
from small import go, pool, run
from torch import Tensor, nn

from clbench.configure.config import resolve_point
from clbench.engine.build import prepare
from clbench.engine.compiling import compile_network
from clbench.engine.execute import Options, execute
from clbench.errors import UsageError
from clbench.fisher import estimate
from clbench.nets import precision
from clbench.nets.flops import Count
from clbench.nets.precision import LossScale, cast, check_precision, in_float32, precision_of

STREAM = ("scenario=class_incremental", "scenario.n_tasks=2")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))


def by_hand(net: nn.Sequential, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Rounded before each product, as autocast is documented to do."""
    for layer in net:
        if isinstance(layer, nn.Linear):
            x = nn.functional.linear(x.to(dtype), layer.weight.to(dtype), layer.bias.to(dtype))
        else:
            x = layer(x)
    return x.float()


@pytest.mark.parametrize(("name", "dtype"), precision.DTYPES.items())
def test_products_are_of_rounded_numbers_and_scores_are_float32(name: str, dtype: torch.dtype):
    net, x = network(), torch.randn(5, 6)
    plain, names = net(x), list(net.state_dict())
    half = cast(net, name)
    assert half is net
    assert precision_of(net) == name
    assert list(net.state_dict()) == names
    assert type(net).__name__ == "Sequential"
    found = net(x)
    assert found.dtype == torch.float32
    assert torch.equal(found, by_hand(net, x, dtype))
    assert not torch.equal(found, plain)
    assert torch.equal(copy.deepcopy(net)(x), found)
    with in_float32(net):
        assert torch.equal(net(x), plain)
    assert torch.equal(net(x), found)
    seen: list[Tensor] = []
    with net[2].register_forward_pre_hook(lambda _, args: seen.append(args[0])):
        assert torch.equal(net(x), plain)
    assert seen[0].dtype == torch.float32
    gradients = torch.autograd.grad(net(x).square().sum(), list(net.parameters()))
    assert {g.dtype for g in gradients} == {torch.float32}


def test_float64_stays():
    net, x = network().double(), torch.randn(5, 6).double()
    before = net(x)
    assert torch.equal(cast(net, "bf16")(x), before)


def test_float32_is_no_cast():
    net = network()
    assert type(cast(net, "float32")) is nn.Sequential


def test_a_fisher_is_that_of_float32():
    x = torch.randn(9, 6)
    plain, half = estimate(network(), x), estimate(cast(network(), "bf16"), x)
    assert all(torch.equal(plain[k], half[k]) for k in plain)


# --- runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["naive", "er", "ewc", "lwf", "ema", "der", "joint"])
def test_a_run_trains_and_predicts_in_it(name: str):
    words = (*STREAM, f"strategy={name}", "strategy.epochs=3")
    plain, half = run(*words), run(*words, "precision=bf16")
    assert plain.run_sha256 != half.run_sha256
    assert run(*words, "precision=float32").run_sha256 == plain.run_sha256
    (a, of_a), (b, of_b) = go(plain), go(half)
    assert of_b.status == "completed"
    assert a.state_dict().keys() == b.state_dict().keys()
    assert {v.dtype for v in b.state_dict().values() if isinstance(v, Tensor)} == {
        v.dtype for v in a.state_dict().values() if isinstance(v, Tensor)
    }
    wa, wb = a.weights, b.weights  # type: ignore[union-attr]
    assert not torch.equal(wa, wb)
    torch.testing.assert_close(wa, wb, rtol=0.2, atol=0.05)
    assert of_a.ledger.learned == of_b.ledger.learned  # the same operations
    x = half.stream.world().x
    with torch.inference_mode():
        b.eval()
        scores = b(x)
        with in_float32(b):
            assert not torch.equal(b(x), scores)  # an evaluation is in it too


def test_operations_are_counted_alike():
    totals = []
    for name in ("float32", "bf16"):
        net = cast(network(), name)
        with Count() as count:
            net(torch.randn(5, 6)).sum().backward()
        totals.append(count.total)
    assert totals[0] == totals[1] > 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("strategy=slda", "precision=bf16"), "learns with no network"),
        (("strategy=naive", "precision=bf17"), "bf16"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(words: tuple[str, ...], says: str):
    with pytest.raises(UsageError, match=says) as error:
        run(*STREAM, *words).strategy()
    assert "\n" not in str(error.value)


def test_a_device_without_it_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda kind: False)
    with pytest.raises(UsageError, match=r"precision=fp16: torch .* on cpu"):
        run(*STREAM, "strategy=naive", "precision=fp16").strategy()
    check_precision("float32", torch.device("cpu"))


def with_npz(npz: Path, out: Path, *words: str) -> object:
    [point] = small.points(*STREAM, "checkpoint_seconds=0", *words, npz=npz)
    return execute(prepare(resolve_point(point)), Options(out, True, quiet=True, curve=False))[0]


@pytest.mark.parametrize("name", ["bf16", "fp16"])
@pytest.mark.parametrize("strategy", ["naive", "er", "mas"])
def test_a_run_resumes_to_the_same_bits(tmp_path: Path, name: str, strategy: str):
    npz = small.write_npz(tmp_path / "blobs.npz")
    words = (f"strategy={strategy}", f"precision={name}", "strategy.optimizer=adam")
    whole = with_npz(npz, tmp_path / "whole", *words)
    with_npz(npz, tmp_path / "parts", *words, "max_tasks=1")
    parts = with_npz(npz, tmp_path / "parts", *words)
    assert whole.status == parts.status == "completed"  # type: ignore[attr-defined]
    assert whole.predictions_sha256 == parts.predictions_sha256  # type: ignore[attr-defined]


def test_a_compiled_network_computes_in_it():
    r = run(*STREAM, "strategy=naive", "precision=bf16")
    strategy = r.strategy()
    x = r.stream.world().x
    with torch.inference_mode():
        before = strategy.eval()(x)
    assert compile_network(strategy, threads=1, backend="eager") is None
    with torch.inference_mode():
        assert torch.equal(strategy.eval()(x), before)


# --- the scale of the loss -----------------------------------------------------------------------


def sums(values: list[float]) -> Callable[[Tensor], Tensor]:
    """A gradient function: the scaled loss times some numbers."""
    return lambda loss: loss * torch.tensor(values)


def test_the_scale_follows_the_rule_of_torch(monkeypatch: pytest.MonkeyPatch):
    """Its own scaler, on a device that it counts on: the CPU."""
    monkeypatch.setattr(precision, "INTERVAL", 3)
    ours = LossScale()
    theirs = torch.amp.GradScaler("cpu", growth_interval=3)
    weights = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weights], lr=1.0)
    for factor in (1, 1, 1, 1, torch.inf, 1, torch.nan, torch.inf, 1, 1, 1, 1, 1, 1, 1):
        gradient = ours.gradient(torch.tensor(0.5), sums([float(factor), 2.0]))
        if not torch.isfinite(torch.tensor(float(factor))):
            assert torch.equal(gradient, torch.zeros(2))
        else:
            assert torch.equal(gradient, torch.tensor([0.5, 1.0]))
        optimizer.zero_grad()
        theirs.scale((weights * torch.tensor([float(factor), 2.0])).sum()).backward()
        theirs.step(optimizer)
        theirs.update()
        assert float(ours.scale) == theirs.get_scale()


def test_small_gradients_of_float16_survive():
    def gradients(scaled: bool) -> Tensor:
        net = cast(network(), "fp16")
        weights = [p for p in net.parameters()]

        def of(loss: Tensor) -> Tensor:
            return torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])

        loss = net(torch.ones(1, 6)).sum() * 1e-9
        return LossScale().gradient(loss, of) if scaled else of(loss)

    plain, scaled = gradients(False), gradients(True)
    assert int((plain != 0).sum()) < int((scaled != 0).sum())


def test_the_scale_is_in_the_state_and_only_in_that_of_float16():
    words = (*STREAM, "strategy=naive")
    assert "loss_scale.scale" not in run(*words, "precision=bf16").strategy().state_dict()
    r = run(*words, "precision=fp16", on=pool(n_train=11))
    strategy, outcome = go(r)
    assert outcome.status == "completed"
    state = strategy.state_dict()
    assert float(state["loss_scale.scale"]) <= precision.START
    assert int(state["loss_scale.finite"]) == outcome.ledger.updates


def test_fp16_needs_the_common_loop():
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = cast(network(), "fp16")

    with pytest.raises(UsageError, match="does not train by the common loop"):
        precision.refuse_unused(Own(), "fp16", "own")
