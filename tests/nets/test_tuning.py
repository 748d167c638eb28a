"""Tuning: what is trained and what is frozen, against plain constructions from the papers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small import go, pool, record_of, run
from torch import nn

from clbench.engine.ledger import state_bytes
from clbench.errors import UsageError
from clbench.nets import weights
from clbench.nets.frozen import constant_bytes, constants, everything
from clbench.nets.tuning import Tuning, added, transformer_blocks, tune
from clbench.nets.vit import Vit, VitShape
from clbench.plugins.registry import find

IMAGES = {"n_classes": 4, "n_train": 8, "n_test": 4, "shape": (8, 8)}
STREAM = ("scenario=class_incremental", "scenario.n_tasks=2", "strategy.batch_size=4")
ALL = ("head", "bias", "norm", "lora", "adapter", "prompt")
SHAPE = VitShape(width=12, depth=3, heads=3, patch=2)


def network(how: str, seed: int = 0, model: str = "vit_tiny", **settings: Any) -> nn.Module:
    torch.manual_seed(seed)
    built = find("model", model).load()(tune=how, **settings)
    made: nn.Module = built.build_tuned(model, (8, 8), 4, 1 / 255)
    return made


def samples(n: int = 5) -> torch.Tensor:
    return torch.randint(0, 256, (n, 8, 8), generator=torch.Generator().manual_seed(1)).byte()


def block(how: str, **settings: Any) -> tuple[nn.Module, nn.Module, torch.Tensor]:
    """A block as it was, the same one tuned with all it was given drawn, and tokens."""
    torch.manual_seed(0)
    plain, tuned = (nn.Sequential(Vit(SHAPE, 3), nn.Linear(12, 2)).double() for _ in range(2))
    tuned.load_state_dict(plain.state_dict())
    tune(tuned, Tuning(how, **{"rank": 2, "layers": (), "length": 3, **settings}), "x")
    tuned.double()
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if name in added(tuned):
                parameter.normal_(0, 0.5)
    x = torch.randn(4, 6, 12, dtype=torch.float64)
    return plain[0].blocks[1], tuned[0].blocks[1], x


def test_lora_multiplies_by_the_sum_of_the_weight_and_the_product():
    """Eq. 3 of the paper: a block whose query and value have the weights W + BA."""
    plain, tuned, x = block("lora")
    for name in ("query", "value"):
        ours = tuned.attention.get_submodule(name)
        with torch.no_grad():
            plain.attention.get_submodule(name).weight.add_(ours.up @ ours.down)
    torch.testing.assert_close(tuned(x), plain(x))
    assert not hasattr(tuned.attention.key, "up")


def test_an_adapter_is_a_bottleneck_beside_the_mlp():
    plain, tuned, x = block("adapter")
    y = x + plain.attention(plain.norm1(x))
    z = plain.norm2(y)
    m = tuned.mlp
    beside = torch.relu(z @ m.down.T + m.down_bias) @ m.up.T + m.up_bias
    torch.testing.assert_close(tuned(x), y + plain.mlp(z) + 0.1 * beside)


def test_prompts_are_tokens_beside_the_others():
    plain, tuned, x = block("prompt")
    joined = torch.cat([x, tuned.prompt.repeat(4, 1, 1)], 1)
    torch.testing.assert_close(tuned(x), plain(joined)[:, :6])


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ("head", 4 * 129),
        # query, key, value, out, fc2, two norms: 7 of 64; fc1: 256; patches and last norm: 64 each.
        ("bias", 4 * 129 + 4 * (7 * 64 + 256) + 2 * 64),
        ("norm", 4 * 129 + 9 * 2 * 64),
        ("lora", 4 * 129 + 4 * 2 * 2 * 8 * 64),
        ("adapter", 4 * 129 + 4 * (2 * 8 * 64 + 8 + 64)),
        ("prompt", 4 * 129 + 4 * 8 * 64),
    ],
)
def test_counts_of_what_is_tuned(how: str, wanted: int):
    tuned, full = network(how), network("full")
    n_all = sum(p.numel() for p in full.parameters())
    assert sum(p.numel() for p in tuned.parameters()) == wanted
    learnt = {n: p.numel() for n, p in tuned.named_parameters() if n not in added(tuned)}
    frozen = {n: t.numel() for n, t in constants(tuned).items()}
    assert learnt.keys() | frozen.keys() == set(full.state_dict())
    assert sum(learnt.values()) + sum(frozen.values()) == n_all
    assert not constants(full)


def test_only_the_chosen_blocks_are_extended():
    assert {n.split(".")[2] for n in added(network("lora", tune_layers=(3, 1), tune_rank=3))} == {
        "1",
        "3",
    }
    one = network("lora", tune_layers=(2,), tune_rank=3)
    assert {tuple(p.shape) for n, p in one.named_parameters() if n in added(one)} == {
        (3, 64),
        (64, 3),
    }


@pytest.mark.parametrize("how", ["head", "bias", "norm", "lora", "adapter"])
def test_a_tuned_network_starts_as_it_was(how: str):
    full, tuned = network("full").eval(), network(how, seed=5).eval()
    state = {**constants(tuned), **tuned.state_dict()}
    full.load_state_dict({name: state[name] for name in full.state_dict()})
    torch.testing.assert_close(tuned(samples()), full(samples()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", ALL)
def test_frozen_weights_follow_from_the_settings_alone(how: str):
    one, other, third = network(how, 1), network(how, 2), network(how, 1, tune_seed=1)
    for name, value in constants(one).items():
        assert torch.equal(value, constants(other)[name]), name
    assert any(not torch.equal(v, constants(third)[n]) for n, v in constants(one).items())
    head = "5.weight"
    assert not torch.equal(one.state_dict()[head], other.state_dict()[head])


@pytest.mark.parametrize("strategy", ["naive", "ewc", "si", "er", "lwf"])
@pytest.mark.parametrize("how", ["lora", "prompt"])
def test_strategies_train_what_is_tuned_and_nothing_else(how: str, strategy: str):
    words = (*STREAM, f"strategy={strategy}", "model=vit_tiny", f"model.tune={how}")
    one = run(*words, on=pool(**IMAGES))
    learner = one.strategy()
    before = {n: t.clone() for n, t in everything(learner.model).items()}  # type: ignore[arg-type]
    learner, outcome = go(one, learner)
    model: Any = learner.model
    assert outcome.status == "completed"
    frozen = constants(model)
    assert all(torch.equal(before[name], value) for name, value in frozen.items())
    assert all(not torch.equal(before[n], p) for n, p in model.named_parameters())
    assert not {f"model.{name}" for name in frozen} & learner.state_dict().keys()
    n = sum(p.numel() for p in model.parameters())
    assert learner.weights.shape == (n,)  # type: ignore[union-attr]
    cost = record_of(one, learner, outcome).cost
    networks = 2 if strategy == "lwf" else 1
    assert cost["frozen_bytes"] == networks * constant_bytes(model)
    vectors = {"naive": 1, "ewc": 3, "si": 3, "lwf": 2}
    if strategy in vectors:  # and a few numbers
        assert 0 <= state_bytes(learner.state_dict()) - vectors[strategy] * 4 * n < 200
        assert cost["state_bytes"] < (vectors[strategy] + 4) * 4 * n < constant_bytes(model)


def test_a_step_of_the_head_alone_costs_a_third():
    """Operations: the frozen part has no backward pass."""

    def flops(how: str) -> float:
        words = (*STREAM, "strategy=naive", "model=vit_tiny", f"model.tune={how}")
        one = run(*words, on=pool(**IMAGES))
        return float(record_of(one, *go(one)).cost["train_flops"])

    full, head, lora = flops("full"), flops("head"), flops("lora")
    assert 0.3 < head / full < 0.36
    assert 0.6 < lora / full < 0.75


def test_statistics_of_batch_normalisation():
    """Frozen with all else; with tune=norm they follow the data."""

    def moved(how: str) -> bool:
        tuned = network(how, model="slim_resnet18").train()
        names = [n for n in everything(tuned) if n.endswith("running_mean")]
        assert len(names) == 20
        before = {n: everything(tuned)[n].clone() for n in names}
        tuned(samples())
        return any(not torch.equal(before[n], everything(tuned)[n]) for n in names)

    assert [moved(how) for how in ("full", "norm", "head", "bias")] == [True, True, False, False]


def test_files_of_weights_fit_a_tuned_network(tmp_path: Path):
    """Those of the whole network, and those of what is tuned; half of the frozen ones are refused."""
    full, tuned = network("full", 7), network("lora", 8)
    state = full.state_dict()
    weights.save(tmp_path / "full.safetensors", state, {})
    weights.initialise(tuned, tmp_path / "full.safetensors")
    assert all(torch.equal(everything(tuned)[name], value) for name, value in state.items())
    weights.save(tmp_path / "part.safetensors", tuned.state_dict(), {})
    again = network("lora", 9)
    weights.initialise(again, tmp_path / "part.safetensors")
    for name, value in tuned.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    lacking = {n: t for n, t in state.items() if n != "3.norm.bias"}
    weights.save(tmp_path / "lacking.safetensors", lacking, {})
    with pytest.raises(UsageError, match=r"lacks tensor '3.norm.bias'"):
        weights.initialise(again, tmp_path / "lacking.safetensors")


class TheirBlock(nn.Module):
    """A block in timm's naming, with one layer for query, key and value."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(6, 18), "proj": nn.Linear(6, 6)})
        self.mlp = nn.Sequential(nn.Linear(6, 24), nn.GELU(), nn.Linear(24, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.attn["qkv"](self.norm(x)).chunk(3, -1)
        x = x + self.attn["proj"](F.scaled_dot_product_attention(q, k, v))
        out: torch.Tensor = x + self.mlp(x)
        return out


@pytest.mark.parametrize("how", ["lora", "adapter", "prompt"])
def test_blocks_in_timms_naming_are_extended(how: str):
    theirs = nn.Sequential(TheirBlock(), TheirBlock(), nn.Linear(6, 2))
    assert len(transformer_blocks(theirs)) == 2
    tune(theirs, Tuning(how, 2, (1,), 3), "timm:x")
    assert all(name.startswith("1.") for name in added(theirs))
    assert theirs(torch.randn(3, 5, 6)).shape == (3, 5, 2)
    assert {n for n, _ in theirs.named_parameters()} == added(theirs) | {"2.weight", "2.bias"}


def test_refusals():
    with pytest.raises(UsageError, match=r"^model=mlp: model.tune=lora needs transformer blocks"):
        network("lora", model="mlp")
    with pytest.raises(
        UsageError, match=r"^model.tune_layers=\[4\]: model=vit_tiny has the blocks 0 to 3"
    ):
        network("lora", tune_layers=(4,))
    words = (*STREAM, "strategy=continual_backprop", "model=mlp", "model.tune=bias")
    with pytest.raises(UsageError, match="this model has frozen weights"):
        run(*words, on=pool(**IMAGES)).strategy()
