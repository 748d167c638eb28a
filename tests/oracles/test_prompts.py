"""Prompts of a frozen transformer, against formulas written from the papers, sample by sample."""

from __future__ import annotations

import pytest
import torch

from clbench.errors import UsageError

from .transformers import WORLD, Learner


def test_coda_weighs_components_by_the_cosine_of_attended_query_and_key():
    words = ("strategy.components=6", "strategy.blocks=[1,3]", "strategy.length=4")
    learner = Learner("coda_prompt", *words)
    learner.learn(0, 1)
    prompts, x = learner.strategy.prompts, WORLD
    query = learner.strategy.model.query(x)
    given = prompts(query)
    assert [*given.prefixes] == [1, 3]
    for place, block in enumerate((1, 3)):
        for b in range(len(x)):
            p = torch.zeros(4, 64, dtype=torch.float64)
            for m in range(4):  # two tasks of two components have begun
                attended = query[b] * prompts.attention[place, m]
                key = prompts.keys[place, m]
                p += attended @ key / attended.norm() / key.norm() * prompts.prompts[place, m]
            key_part, value_part = given.prefixes[block]
            torch.testing.assert_close(key_part[b], p[:2])
            torch.testing.assert_close(value_part[b], p[2:])


def test_coda_opens_orthonormal_slices_and_freezes_old_ones():
    learner = Learner("coda_prompt", "strategy.components=6", "strategy.blocks=[0]")
    prompts = learner.strategy.prompts
    prompts.open()
    for parameter in prompts.parameters():
        first = parameter.data.flatten(2)[0, :2]
        torch.testing.assert_close(first @ first.T, torch.eye(2, dtype=torch.float64))
    learner = Learner("coda_prompt", "strategy.components=6", "strategy.blocks=[0]")
    prompts = learner.strategy.prompts
    learner.learn(0)
    old = [p.detach()[:, :2].clone() for p in prompts.parameters()]
    prompts.open()
    for p in prompts.parameters():
        products = p.data.flatten(2)[0, 2:4] @ p.data.flatten(2)[0, :4].T
        wanted = torch.eye(4, dtype=torch.float64)[2:]
        torch.testing.assert_close(products, wanted)
    prompts.opened.sub_(1)
    learner.learn(1, 2)
    assert all(torch.equal(a, p[:, :2]) for a, p in zip(old, prompts.parameters(), strict=True))


def test_coda_trains_the_cross_entropy_and_the_orthogonality():
    words = ("strategy.components=6", "strategy.blocks=[0]", "strategy.length=2")
    learner = Learner("coda_prompt", *words, "strategy.ortho=0.5")
    learner.learn(0)
    prompts, query = learner.strategy.prompts, learner.strategy.model.query(WORLD)
    wanted = 0.0
    for parameter in prompts.parameters():
        rows = parameter.data[0, :2].flatten(1)
        wanted += 0.5 * float((rows @ rows.T - torch.eye(2)).square().mean())
    assert prompts(query).pull.item() == pytest.approx(wanted)


def test_l2p_gives_each_sample_its_nearest_prompts():
    words = ("strategy.prompts=6", "strategy.top=2", "strategy.length=3", "strategy.pull=0.3")
    learner = Learner("l2p", *words)
    learner.learn(0)
    prompts, query = learner.strategy.prompts, learner.strategy.model.query(WORLD)
    given, total = prompts(query), 0.0
    for b, q in enumerate(query):
        cosines = [(q @ k / q.norm() / k.norm()).item() for k in prompts.keys]
        best = sorted(range(6), key=lambda m, c=cosines: -c[m])[:2]
        total += sum(cosines[m] for m in best)
        torch.testing.assert_close(given.further[b], torch.cat([prompts.prompts[m] for m in best]))
    assert given.pull.item() == pytest.approx(-0.3 * total / 5)


def test_dualprompt_trains_the_tasks_own_expert_and_predicts_with_the_nearest():
    learner = Learner("dualprompt")
    prompts = learner.strategy.prompts
    start = prompts.experts.detach().clone()
    learner.learn(0, 1)
    moved = [not torch.equal(a, b) for a, b in zip(start, prompts.experts, strict=True)]
    assert moved == [True, True, False]
    query = learner.strategy.model.query(WORLD)
    given = prompts(query)
    for b, q in enumerate(query):
        cosines = [(q @ k / q.norm() / k.norm()).item() for k in prompts.keys[:2]]
        expert = prompts.experts[int(cosines[1] > cosines[0])]
        for place, block in enumerate((2, 3)):
            torch.testing.assert_close(given.prefixes[block][0][b], expert[place, 0])
            torch.testing.assert_close(given.prefixes[block][1][b], expert[place, 1])
    for place, block in enumerate((0, 1)):
        torch.testing.assert_close(given.prefixes[block][0][0], prompts.general[place, 0])
    prompts.train()
    torch.testing.assert_close(prompts(query).prefixes[3][0][4], prompts.experts[1][1, 0])


def test_dualprompts_next_expert_starts_as_the_last_one_ended():
    learner = Learner("dualprompt")
    prompts = learner.strategy.prompts
    drawn = prompts.experts[0].detach().clone()
    learner.learn(0)
    learnt = prompts.experts[0].detach().clone()
    prompts.open()
    assert not torch.equal(learnt, drawn)
    assert all(torch.equal(prompts.experts[t], learnt) for t in (0, 1))
    assert not torch.equal(prompts.keys[0], prompts.keys[1])


@pytest.mark.parametrize("strategy", ["coda_prompt", "l2p", "dualprompt"])
def test_prompts_leave_the_transformer_and_need_one(strategy: str):
    learner = Learner(strategy)
    network = learner.strategy.model.network
    before = {n: b.clone() for n, b in network.named_buffers()}
    learner.learn(0, 1)
    assert all(torch.equal(before[n], b) for n, b in network.named_buffers())
    with pytest.raises(UsageError, match=rf"^{strategy} trains prompts .* set model.tune=head$"):
        Learner(strategy, tune="norm")
    with pytest.raises(UsageError, match=rf"^{strategy} needs a vision transformer"):
        Learner(strategy, model="mlp")


@pytest.mark.parametrize(
    ("strategy", "word", "said"),
    [
        ("coda_prompt", "components=2", "strategy.components=2 must be at least the number of ta"),
        ("coda_prompt", "components=65", "strategy.components=65: at most 64"),
        ("coda_prompt", "blocks=[4]", r"strategy.blocks=\[4\]: this transformer has the blocks 0"),
        ("coda_prompt", "length=3", "strategy.length=3 must be even"),
        ("l2p", "top=11", "strategy.top=11 must be at most strategy.prompts=10"),
        ("dualprompt", "expert_blocks=[1]", "strategy.expert_blocks must name a block, and none"),
        ("coda_prompt", "reset_weights=true", "strategy.reset_weights=true would lose the prompts"),
    ],
)
def test_what_cannot_be_is_refused(strategy: str, word: str, said: str):
    with pytest.raises(UsageError, match=f"^{said}"):
        Learner(strategy, f"strategy.{word}")
