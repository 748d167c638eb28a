"""One flat vector: the same results as torch on separate tensors, and views that stay views."""

from __future__ import annotations

import copy

import pytest
import torch
from small import go, run
from torch import Tensor, nn

from clbench.errors import UsageError
from clbench.nets.optim import SGD, FlatWeights, build_optimizer, optimizer_class

NAMES = sorted(
    name
    for name, value in vars(torch.optim).items()
    if isinstance(value, type)
    and issubclass(value, torch.optim.Optimizer)
    and value is not torch.optim.Optimizer
)
X = torch.sin(torch.arange(60, dtype=torch.float64)).reshape(12, 5)
Y = torch.arange(12) % 3


def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()


def loss(net: nn.Module, step: int) -> Tensor:
    rows = [(step + i) % 12 for i in range(4)]
    return nn.functional.cross_entropy(net(X[rows]), Y[rows])


def flat_steps(
    name: str, n: int, lr: float, momentum: float = 0.0, decay: float = 0.0
) -> nn.Module:
    net = model()
    flat = FlatWeights(net)
    optimizer = build_optimizer(name, flat, lr, momentum, decay)
    for step in range(n):
        flat.vector.grad = flat.gradient(loss(net, step))
        optimizer.step()
    return net


def plain_steps(optimizer_of: object, n: int) -> nn.Module:
    net = model()
    optimizer = optimizer_of(net.parameters())  # type: ignore[operator]
    for step in range(n):
        optimizer.zero_grad()
        loss(net, step).backward()
        optimizer.step()
    return net


def assert_same(a: nn.Module, b: nn.Module, tolerance: float = 1e-12) -> None:
    start = dict(model().named_parameters())
    for (name, p), q in zip(a.named_parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=tolerance, atol=tolerance)
        assert not torch.allclose(p, start[name]), "nothing was learnt"


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_flat_sgd_is_that_of_torch(momentum: float, decay: float):
    ours = flat_steps("sgd", 50, 0.1, momentum, decay)
    theirs = plain_steps(
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=momentum, weight_decay=decay), 50
    )
    assert_same(ours, theirs)


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize(
    "name", ["Adam", "AdamW", "RMSprop", "Adagrad", "Adamax", "Rprop", "NAdam"]
)
def test_elementwise_optimizers_over_the_vector_are_those_over_the_tensors(name: str, decay: float):
    if name == "Rprop" and decay:
        with pytest.raises(UsageError, match="weight_decay"):
            flat_steps(name, 1, 0.01, 0.0, decay)
        return
    more = {"weight_decay": decay} if name != "Rprop" else {}
    theirs = plain_steps(lambda p: getattr(torch.optim, name)(p, lr=0.01, **more), 50)
    assert_same(flat_steps(name.lower(), 50, 0.01, 0.0, decay), theirs)


@pytest.mark.parametrize("max_norm", [0.01, 1.0, 100.0])
def test_clipping_is_that_of_torch(max_norm: float):
    r = run("strategy=naive", "scenario=scole", f"strategy.clip_norm={max_norm}", "strategy.lr=1")
    strategy = r.strategy()
    net = strategy.model
    before = [p.detach().clone() for p in net.parameters()]  # type: ignore[union-attr]
    gradient = torch.sin(torch.arange(strategy.weights.numel(), dtype=torch.float32))
    parts = strategy.per_parameter(gradient.clone())  # type: ignore[union-attr]
    others = [nn.Parameter(b.clone()) for b in before]
    for other, part in zip(others, parts, strict=True):
        other.grad = part.clone()
    torch.nn.utils.clip_grad_norm_(others, max_norm)
    strategy.descend(gradient)  # type: ignore[operator]
    for p, b, other in zip(net.parameters(), before, others, strict=True):  # type: ignore[union-attr]
        assert other.grad is not None
        torch.testing.assert_close(b - p, other.grad, rtol=1e-4, atol=1e-6)


# --- views ---------------------------------------------------------------------------------------


def is_bound(flat: FlatWeights, net: nn.Module) -> bool:
    """Whether writing to the vector shows in every parameter of the network."""
    with torch.no_grad():
        flat.vector.data.fill_(3.0)
        shown = all((p == 3).all() for p in net.parameters())
        for p in net.parameters():
            p.fill_(4.0)
    return bool(shown and (flat.vector.data == 4).all())


def test_parameters_are_views():
    net = model()
    before = [p.detach().clone() for p in net.parameters()]
    flat = FlatWeights(net)
    assert all(torch.equal(p, b) for p, b in zip(net.parameters(), before, strict=True))
    assert is_bound(flat, net)


def move(net: nn.Module, how: str) -> nn.Module:
    if how == "float":
        return net.float()
    if how == "load":
        net.load_state_dict(model().state_dict())
    elif how == "assign":
        state = {k: v.clone() for k, v in model().state_dict().items()}
        net.load_state_dict(state, assign=True)
    return net


@pytest.mark.parametrize("how", ["float", "load", "assign"])
def test_views_survive_after_bind(how: str):
    net = model()
    flat = FlatWeights(net)
    move(net, how)
    values = [p.detach().clone() for p in net.parameters()]
    flat.bind()
    assert all(torch.equal(p, v) for p, v in zip(net.parameters(), values, strict=True))
    assert flat.vector.dtype == next(net.parameters()).dtype
    assert is_bound(flat, net)


@pytest.mark.parametrize("name", ["naive", "ewc"])
@pytest.mark.parametrize("more", [(), ("strategy.momentum=0.9",)])
@pytest.mark.parametrize("how", ["deepcopy", "assign", "load"])
def test_a_copied_strategy_goes_on_as_the_original(name: str, more: tuple[str, ...], how: str):
    r = run(f"strategy={name}", "scenario=scole", *more)
    original = r.strategy()
    original.learn(r.stream.experience(0))
    if how == "deepcopy":
        other = copy.deepcopy(original)
    else:
        other = r.strategy()
        other.load_state_dict(copy.deepcopy(original.state_dict()), assign=how == "assign")
    for t in (1, 2):
        original.learn(r.stream.experience(t))
        other.learn(r.stream.experience(t))
    assert other.weights.data_ptr() != original.weights.data_ptr()
    for (key, a), b in zip(original.state_dict().items(), other.state_dict().values(), strict=True):
        if isinstance(a, Tensor):
            assert torch.equal(a, b), key


def test_double_precision_trains():
    r = run("strategy=ewc", "scenario=scole", "strategy.momentum=0.5")
    strategy = r.strategy()
    strategy.learn(r.stream.experience(0))
    strategy = strategy.double()
    before = strategy.model[2].weight.detach().clone()  # type: ignore[index]
    strategy.learn(r.stream.experience(1))
    after = strategy.model[2].weight  # type: ignore[index]
    assert after.dtype == torch.float64
    assert not torch.equal(before, after)


def test_frozen_and_unused_parameters():
    net = nn.ModuleDict(
        {"used": nn.Linear(2, 2), "frozen": nn.Linear(2, 2), "unused": nn.Linear(2, 2)}
    )
    net["frozen"].requires_grad_(False)
    flat = FlatWeights(net)
    assert flat.vector.numel() == 12
    gradient = flat.gradient(net["frozen"](net["used"](torch.ones(1, 2))).sum())
    assert (gradient[:6] != 0).any()
    assert (gradient[6:] == 0).all()


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_of_torch_trains_or_is_refused_with_one_line(name: str):
    try:
        r = run(
            "strategy=naive", "scenario=scole", "scenario.n_tasks=3", f"strategy.optimizer={name}"
        )
        start = r.strategy().weights.clone()
    except UsageError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert name.lower() in str(error).lower()  # noqa: PT017
        assert name in ("LBFGS", "SparseAdam", "Muon"), error  # noqa: PT017
        return
    strategy, outcome = go(r)
    assert outcome.error is None
    assert outcome.status == "completed"
    assert outcome.ledger.updates == 3
    assert not torch.equal(strategy.weights, start)


def test_muon_trains_a_model_that_it_takes():
    """Matrices only: a network without biases."""
    net = nn.Sequential(
        nn.Linear(5, 7, bias=False), nn.Tanh(), nn.Linear(7, 3, bias=False)
    ).double()
    flat = FlatWeights(net)
    optimizer = build_optimizer("muon", flat, 0.02, 0.0, 0.0)
    first = float(loss(net, 0).detach())
    for _ in range(20):
        gradient = flat.gradient(loss(net, 0))
        for p, part in zip(flat.parameters, flat.split(gradient), strict=True):
            p.grad = part
        optimizer.step()
    assert float(loss(net, 0).detach()) < first
    assert is_bound(flat, net)


def test_unknown_names_and_settings_that_do_not_apply():
    assert optimizer_class("SGD") is SGD
    assert optimizer_class("adamw") is torch.optim.AdamW
    with pytest.raises(UsageError, match="adam"):
        optimizer_class("adamm")
    with pytest.raises(UsageError):
        optimizer_class("optimizer")
    with pytest.raises(UsageError, match="momentum"):
        build_optimizer("adam", FlatWeights(model()), 0.1, 0.9, 0.0)


def test_a_model_with_nothing_to_train_is_an_empty_vector():
    flat = FlatWeights(nn.Flatten())
    flat.bind()
    assert flat.vector.shape == (0,)
    build_optimizer("sgd", flat, 0.1, 0.0, 0.0).state_dict()
