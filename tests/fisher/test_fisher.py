"""Fisher estimators: against closed forms, one backward per (sample, class), and one another."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from fisher_nets import (
    NETS,
    Fisher,
    Pairs,
    Sequence,
    Tied,
    Twice,
    assert_equal,
    build,
    by_hand,
    conv,
    custom,
    mlp,
    normed,
    plain_conv,
    plain_mlp,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.fisher import estimate
from clbench.fisher import layers as fisher_layers
from clbench.fisher.estimators import Partial
from clbench.nets.vit import Pool, Vit, VitShape


def test_linear_softmax_has_its_closed_form() -> None:
    torch.manual_seed(0)
    model, x, y = nn.Linear(6, 4).double(), torch.randn(50, 6).double(), torch.randint(4, (50,))
    p = model(x).detach().softmax(1)
    exact, error = p * (1 - p), (p - F.one_hot(y, 4)) ** 2
    for found, s in (
        (estimate(model, x), exact),
        (estimate(model, x, y, "empirical"), error),
    ):
        assert_equal(found, {"weight": s.T @ x**2 / 50, "bias": s.mean(0)})


@pytest.mark.parametrize("make", NETS)
@pytest.mark.parametrize("chunk", [1, 2, None])
def test_equals_one_backward_per_sample_and_class(make: Callable, chunk: int | None) -> None:
    model, x, y = build(make)
    assert_equal(estimate(model, x, chunk=chunk), by_hand(model, x))
    assert_equal(estimate(model, x, y, "empirical", chunk=chunk), by_hand(model, x, y))


@pytest.mark.parametrize(
    ("make", "without_formula"),
    [
        (mlp, set()),
        (normed, set()),
        (Twice, set()),
        (conv, {"4.weight", "4.bias"}),  # padding="same"
        (custom, {"2.scale"}),
        (Tied, {"first.weight", "head.weight"}),
        (Pairs, {"pair.scale"}),
        (Sequence, {"token.weight", "token.bias", "row.weight", "row.bias"}),
    ],
)
def test_only_parameters_without_a_formula_take_the_slow_way(
    make: Callable, without_formula: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow: set[str] = set()
    by_vmap = fisher_layers._by_vmap

    def spy(model: nn.Module, names: list[str], *rest: object) -> Fisher:
        slow.update(names)
        return by_vmap(model, names, *rest)

    monkeypatch.setattr(fisher_layers, "_by_vmap", spy)
    model, x, _ = build(make)
    estimate(model, x)
    assert slow == without_formula


@pytest.mark.parametrize("make", NETS)
@pytest.mark.parametrize("estimator", ["exact", "sampled", "empirical", "batched"])
def test_what_is_excluded_is_left_out_and_changes_nothing_else(
    make: Callable, estimator: str
) -> None:
    model, x, y = build(make)
    found = [
        estimate(model, x, y, estimator, exclude=words, generator=torch.Generator().manual_seed(0))
        for words in ("none", "output", "output *bias")
    ]
    last = list(found[0])[-1].rpartition(".")[0]
    head = {name for name in found[0] if name.rpartition(".")[0] == last}
    assert found[0].keys() - found[1].keys() == head
    assert all(name.endswith("weight") or "scale" in name for name in found[2])
    assert_equal(found[1], {name: found[0][name] for name in found[1]})
    assert_equal(found[2], {name: found[0][name] for name in found[2]})


@pytest.mark.parametrize("estimator", ["exact", "batched"])
@pytest.mark.parametrize("chunk", [2, None])
def test_report_counts_up_to_the_samples(estimator: str, chunk: int | None) -> None:
    model, x, y = build(mlp)
    told: list[int] = []
    estimate(model, x, y, estimator, batch_size=3, chunk=chunk, report=told.append)
    assert told == sorted(told)
    assert told[-1] == len(x)


@pytest.mark.oracle
@pytest.mark.parametrize("make", [plain_mlp, plain_conv])
def test_agrees_with_backpack(make: Callable) -> None:
    """BackPACK's diagonal of the generalised Gauss-Newton matrix, which is the exact Fisher."""
    backpack = pytest.importorskip("backpack", reason="pip install 'clbench[oracle]'")
    extensions = pytest.importorskip("backpack.extensions")
    model, x, y = build(make, n=9)
    ours = estimate(model, x)
    backpack.extend(model)
    loss = backpack.extend(nn.CrossEntropyLoss())
    with backpack.backpack(extensions.DiagGGNExact()):
        loss(model(x.requires_grad_()), y).backward()  # its hooks warn of inputs without gradients
    assert_equal(ours, {name: p.diag_ggn_exact for name, p in model.named_parameters()})


def test_splitting_products_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, _ = build(conv)
    expected = estimate(model, x)
    monkeypatch.setattr(fisher_layers, "PRODUCTS_AT_ONCE", 1)
    assert_equal(estimate(model, x), expected)


def test_a_rows_axis_as_long_as_the_chunk_is_not_taken_for_the_samples() -> None:
    model, x, _ = build(Sequence, n=2)  # two tokens, two samples
    assert_equal(estimate(model, x), by_hand(model, x))


def test_sampled_tends_to_exact() -> None:
    model, x, _ = build(mlp, n=4)
    exact = estimate(model, x)
    generator = torch.Generator().manual_seed(0)
    errors = []
    for repeats in (10, 10_000):
        drawn = estimate(model, x.repeat(repeats, 1, 1, 1), None, "sampled", generator=generator)
        errors.append(max(float((drawn[k] - exact[k]).norm() / exact[k].norm()) for k in exact))
    assert errors[1] < 0.03
    assert errors[1] < errors[0] / 10  # 1000 times the draws: 30 times closer, give or take


def test_sampled_follows_its_generator_whatever_the_chunk() -> None:
    model, x, _ = build(mlp)
    runs = [
        estimate(model, x, None, "sampled", generator=torch.Generator().manual_seed(s), chunk=c)
        for s, c in ((1, 2), (1, None), (2, None))
    ]
    assert_equal(runs[0], runs[1])
    assert not torch.equal(runs[1]["1.weight"], runs[2]["1.weight"])
    torch.manual_seed(1)  # the global generator, where none is given
    assert_equal(estimate(model, x, None, "sampled"), runs[0])


@pytest.mark.parametrize("make", NETS)
def test_batched_with_single_samples_is_empirical(make: Callable) -> None:
    model, x, y = build(make)
    assert_equal(
        estimate(model, x, y, "batched", batch_size=1, chunk=3), estimate(model, x, y, "empirical")
    )


@pytest.mark.parametrize("chunk", [1, 2, 8])
def test_batched_squares_the_gradient_of_the_mean_loss(chunk: int) -> None:
    model, x, y = build(mlp)
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for rows in (slice(0, 3), slice(3, 5)):  # the last batch is smaller and counts as much
        loss = F.cross_entropy(model(x[rows]), y[rows])
        for name, g in zip(total, torch.autograd.grad(loss, model.parameters()), strict=True):
            total[name] += g**2 / 2
    assert_equal(estimate(model, x, y, "batched", batch_size=3, chunk=chunk), total)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(6)))
def test_order_of_samples_matters_to_batches_only(order: list[int]) -> None:
    model, x, y = build(mlp, n=6)
    for estimator in ("exact", "empirical"):
        assert_equal(
            estimate(model, x[order], y[order], estimator, chunk=4),
            estimate(model, x, y, estimator),
        )
    pairs = [{*order[i : i + 2]} for i in (0, 2, 4)]
    same_batches = all(pair in ({0, 1}, {2, 3}, {4, 5}) for pair in pairs)
    shuffled = estimate(model, x[order], y[order], "batched", batch_size=2)["1.weight"]
    ordered = estimate(model, x, y, "batched", batch_size=2)["1.weight"]
    assert torch.allclose(shuffled, ordered, rtol=1e-9) == same_batches


@pytest.mark.parametrize("make", [mlp, custom, Tied])
@pytest.mark.parametrize("low", [-torch.inf, -1e30])
def test_masked_scores_are_those_of_a_smaller_classifier(make: Callable, low: float) -> None:
    model, x, y = build(make)
    blocked = torch.tensor([False, True, False])

    def logits(x: Tensor) -> Tensor:
        return model(x).masked_fill(blocked, low)

    y = y.clamp(0, 1) * 2  # classes 0 and 2
    assert_equal(estimate(model, x, logits=logits), by_hand(model, x, logits=logits))
    head = list(model.named_parameters())[-1][0]
    for estimator in ("exact", "sampled", "empirical", "batched"):
        found = estimate(model, x, y, estimator, logits=logits)
        assert all(torch.isfinite(value).all() for value in found.values())
        assert found[head][1] == 0
        assert found[head][0] > 0


def test_a_forbidden_label_gives_no_nan() -> None:
    model, x, _ = build(mlp)
    mask = torch.tensor([0, -torch.inf, 0])
    y = torch.ones(len(x), dtype=torch.int64)
    for estimator in ("empirical", "batched"):
        found = estimate(model, x, y, estimator, logits=lambda x: model(x) + mask)
        assert all(torch.isfinite(value).all() for value in found.values())


def test_a_diverged_model_is_not_called_flat() -> None:
    model, x, _ = build(mlp)
    nn.init.constant_(model[1].bias, torch.nan)
    assert all(value.isnan().any() for value in estimate(model, x).values())


def test_certain_predictions_have_no_information() -> None:
    model = nn.Linear(4, 3)
    nn.init.zeros_(model.weight)
    with torch.no_grad():
        model.bias.copy_(torch.tensor([1e4, 0, -1e4]))
    assert all((value == 0).all() for value in estimate(model, torch.randn(5, 4)).values())


@pytest.mark.parametrize("make", NETS)
@pytest.mark.parametrize("estimator", ["exact", "batched"])
def test_leaves_the_model_as_it_was(make: Callable, estimator: str) -> None:
    model, x, y = build(make)
    model.train()
    list(model.modules())[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    for i, p in enumerate(model.parameters()):
        p.grad = torch.ones_like(p) if i == 0 and p.requires_grad else None
    estimate(model, x, y, estimator)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    for i, p in enumerate(model.parameters()):
        assert p.grad is None if i or not p.requires_grad else (p.grad == 1).all()


def test_modes_come_back_after_an_error() -> None:
    model, x, _ = build(mlp)

    def broken(x: Tensor) -> Tensor:
        raise KeyError

    with pytest.raises(KeyError):
        estimate(model, x, logits=broken)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("make", [conv, custom])
def test_parameters_may_share_one_storage(make: Callable) -> None:
    model, x, _ = build(make)
    expected = estimate(model, x)
    flat = nn.utils.parameters_to_vector(model.parameters()).detach()
    nn.utils.vector_to_parameters(flat, model.parameters())  # each becomes a view of it
    assert len({p.untyped_storage().data_ptr() for p in model.parameters()}) == 1
    assert_equal(estimate(model, x), expected)


def test_raw_bytes_and_no_grad_are_fine() -> None:
    model, x, _ = build(custom)
    net = nn.Sequential(nn.Identity(), model)
    raw = (x * 50).clamp(0, 255).to(torch.uint8)

    def logits(x: Tensor) -> Tensor:
        return net(x.double() / 255)

    with torch.no_grad():
        found = estimate(model, raw, logits=logits)
    assert_equal(found, by_hand(model, raw, logits=logits))
    assert all(value.dtype == torch.float64 for value in found.values())
    assert not any(value.requires_grad for value in found.values())


def test_makes_its_tensors_where_the_data_are() -> None:
    model, x, y = build(custom)
    expected = estimate(model, x)
    with torch.device("meta"):
        assert_equal(estimate(model, x), expected)
        for estimator in ("sampled", "empirical", "batched"):
            estimate(model, x, y, estimator)


def test_one_line_says_what_is_wrong() -> None:
    model, x, y = build(mlp)
    wrong: list[tuple[str, Callable[[], Fisher]]] = [
        ("no estimator 'true'", lambda: estimate(model, x, y, "true")),
        ("no samples", lambda: estimate(model, x[:0])),
        ("got none", lambda: estimate(model, x, None, "empirical")),
        ("needs .5,. int64 labels", lambda: estimate(model, x, y[:2], "batched")),
        ("of torch.uint8", lambda: estimate(model, x, y.byte(), "empirical")),
        ("unlabelled", lambda: estimate(model, x, y - 3, "empirical")),
        ("no trainable parameter is left", lambda: estimate(model, x, exclude="*")),
        ("'hed.\\*': no parameter", lambda: estimate(model, x, exclude="hed.*")),
        ("must be >= 1", lambda: estimate(model, x, batch_size=0)),
        ("must be >= 1", lambda: estimate(model, x, chunk=0)),
        ("depend on the model", lambda: estimate(model, x, logits=lambda x: model(x).detach())),
        ("n_classes", lambda: estimate(model, x, logits=lambda x: model(x).flatten())),
        (
            "track_running_stats",
            lambda: estimate(nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False)), x),
        ),
    ]
    for message, call in wrong:
        with pytest.raises(UsageError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_model_vmap_cannot_transform_is_refused() -> None:
    model, x, y = build(custom)

    def logits(x: Tensor) -> Tensor:
        return model(x) * (1 if float(x.sum()) > 0 else 2)

    with pytest.raises(UsageError, match=r"2\.scale"):
        estimate(model, x, logits=logits)
    assert estimate(model, x, y, "batched", logits=logits)["2.scale"].sum() > 0


@pytest.mark.parametrize("estimator", ["exact", "empirical"])
def test_tokens_of_a_transformer_have_formulas(
    estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what stands outside linear layers and norms of the blocks takes the slow way."""
    torch.manual_seed(0)
    shape = VitShape(width=8, depth=2, heads=2, patch=2, layer_scale=True)
    model = nn.Sequential(Vit(shape, 2), Pool("both"), nn.Linear(16, 3)).double()
    for p in model.parameters():
        nn.init.normal_(p, std=0.5)
    x, y = torch.randn(5, 3, 4, 4).double(), torch.tensor([0, 2, 1, 0, 2])
    slow: set[str] = set()
    by_vmap = fisher_layers._by_vmap
    monkeypatch.setattr(
        fisher_layers,
        "_by_vmap",
        lambda m, names, *rest: (slow.update(names), by_vmap(m, names, *rest))[1],
    )
    given = () if estimator == "exact" else (y,)
    assert_equal(estimate(model, x, y, estimator, chunk=2), by_hand(model, x, *given))
    assert slow == {
        *("0.class_token", "0.position", "0.norm.weight", "0.norm.bias"),
        *(f"0.blocks.{n}.scale{k}.factor" for n in range(2) for k in (1, 2)),
    }


@pytest.mark.parametrize("estimator", ["sampled", "empirical", "batched"])
def test_goes_on_from_what_was_summed_up_to_the_same_bits(estimator: str) -> None:
    class Stops(Partial):
        def keep(self) -> None:
            if self.done == 2:
                raise KeyboardInterrupt

    model, x, y = build(plain_mlp)

    def found(partial: Partial | None) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(5)
        words = {"generator": generator, "batch_size": 1, "chunk": 1, "partial": partial}
        return estimate(model, x, y, estimator, **words)

    stopped = Stops()
    with pytest.raises(KeyboardInterrupt):
        found(stopped)
    whole, rest = found(None), found(Partial(stopped.total, stopped.done))
    assert len(x) > 2
    assert all(torch.equal(whole[name], rest[name]) for name in whole)
