"""Strategies that each break one rule, and the check that says so."""

from __future__ import annotations

import textwrap

HEAD = """
from dataclasses import dataclass, field
import math, random
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from clbench.strategy import GradientStrategy, Needs, Strategy

"""


def strategy(body: str) -> str:
    """A class whose methods are these, on top of plain gradient descent."""
    return "class Mine(GradientStrategy):\n" + textwrap.indent(textwrap.dedent(body), "    ")


CONSTANT = strategy("""
    def learn(self, task):
        pass
    def forward(self, x, task_id=None):
        return x.new_zeros(len(x), self.info.n_classes, dtype=torch.float32)
""")

REPLAY_FROM_A_LIST = strategy("""
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        self.stored = []
    def begin(self, task):
        self.stored.append(task)
        old = self.stored[0]
        return task.joined(old)
""")

PLAIN_ATTRIBUTE = strategy("""
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        self.tasks_seen = 0
    def begin(self, task):
        self.tasks_seen += 1
        self.optimizer.param_groups[0]["lr"] = 0.1 / self.tasks_seen
        return task
    def get_extra_state(self):
        return {}
    def set_extra_state(self, state):
        pass
""")

UNUSED_LIST = strategy("""
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        self.losses = []
    def consolidate(self, task):
        self.losses.append(task.x[:4].clone())
""")

CLASS_LEVEL_MEMORY = strategy("""
    runs = []
    def begin(self, task):
        self.runs.append(1)
        self.weights.mul_(1 - 0.001 * len(self.runs))
        return task
""")

OWN_GENERATOR = strategy("""
    def begin(self, task):
        self.weights.add_(torch.from_numpy(np.random.default_rng().normal(size=len(self.weights)))
                          * 0.01)
        return task
""")

GROWING_BUFFER = strategy("""
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        self.register_buffer("seen", torch.zeros(0, dtype=torch.int64))
    def consolidate(self, task):
        self.seen = torch.cat([self.seen, task.y])
""")

LONG_LIST_IN_STATE = strategy("""
    def get_extra_state(self):
        return {"optimizer": self.optimizer.state_dict(), "pixels": list(range(5000))}
""")

LONG_DICT_IN_STATE = strategy("""
    def get_extra_state(self):
        return {"optimizer": self.optimizer.state_dict(), "p": {str(i): i for i in range(5000)}}
""")

OBJECT_IN_STATE = strategy("""
    def get_extra_state(self):
        return {"optimizer": self.optimizer.state_dict(), "seen": {1, 2, 3}}
""")

BATCH_STATISTICS = strategy("""
    def forward(self, x, task_id=None):
        scores = self.model(x)
        return scores - scores.mean(0)
""")

WRONG_SHAPE = strategy("""
    def forward(self, x, task_id=None):
        return self.model(x)[:, :2]
""")

COUNTS_CALLS = strategy("""
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        self.register_buffer("calls", torch.zeros(()))
    def forward(self, x, task_id=None):
        self.calls += 1
        return self.model(x)
""")

TRAINS_IN_FORWARD = strategy("""
    def forward(self, x, task_id=None):
        scores = self.model(x)
        with torch.inference_mode(False), torch.enable_grad():
            loss = -self.model(x.clone()).logsumexp(1).mean()
            self.descend(self.gradient_of(loss))
        return scores
""")

NOISY_FORWARD = strategy("""
    def forward(self, x, task_id=None):
        scores = self.model(x)
        return scores + 1e-9 * torch.randn(scores.shape)
""")

ORDER_OF_CLASSES = strategy("""
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        self.register_buffer("seen", torch.zeros(info.n_classes, dtype=torch.bool))
    def begin(self, task):
        self.seen[task.y] = True
        return task
    def forward(self, x, task_id=None):
        later = torch.arange(self.info.n_classes, device=x.device) >= self.seen.sum()
        return self.model(x).masked_fill(later, -1e9)
""")

BATCHES_OF_ODD_SIZE = strategy("""
    def loss(self, batch):
        if len(batch.y) not in (32, 16):
            raise ValueError("cannot reshape")
        return super().loss(batch)
""")

SPREAD_OF_THE_TASK = strategy("""
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        self.register_buffer("spread", torch.ones(()))
    def consolidate(self, task):
        self.spread.copy_(task.x.float().var(0, correction=0).mean())
    def forward(self, x, task_id=None):
        return self.model(x) / self.spread
""")

TWO_CLASSES_AT_LEAST = strategy("""
    def consolidate(self, task):
        if len(task.y) > 1:
            first, second = task.y.unique()[:2]
""")

FIXED_DTYPE = strategy("""
    def forward(self, x, task_id=None):
        return self.model(x).float()
""")

SKIPS_THE_CHECKS = """
class Mine(GradientStrategy):
    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        inner_lr: float = 0.1
"""

DEFAULT_DEVICE = strategy("""
    def loss(self, batch):
        weight = torch.ones(self.info.n_classes)
        return F.cross_entropy(self.scores(batch), batch.y, weight=weight)
""")

DEFAULT_DEVICE_UNUSED = strategy("""
    def consolidate(self, task):
        self.kept = torch.zeros(3)
""")

ITEM_IN_LOSS = strategy("""
    def loss(self, batch):
        loss = super().loss(batch)
        self.last = loss.item()
        return loss
""")

IF_IN_STEP = strategy("""
    def step(self, batch):
        if batch.y.max() > 0:
            super().step(batch)
""")

MASK_IN_DRAW = strategy("""
    def draw(self, batch):
        keep = batch.y >= 0
        return type(batch)(batch.x[keep], batch.y[keep],
                           None if batch.task_id is None else batch.task_id[keep], batch.classes)
""")

NONZERO_IN_LOSS = strategy("""
    def loss(self, batch):
        rows = (batch.y >= 0).nonzero().squeeze(1)
        return super().loss(batch) + 0.0 * rows.sum()
""")

TOLIST_IN_STEP = strategy("""
    def step(self, batch):
        self.labels = batch.y.tolist()
        super().step(batch)
""")

ITEM_IN_LEARN = """
class Mine(Strategy):
    def __init__(self, info, config, build_model):
        super().__init__(info, config, build_model)
        self.register_buffer("sums", torch.zeros(info.n_classes, math.prod(info.input_shape)))
    def learn(self, task):
        for x, y in zip(task.x.flatten(1), task.y):
            self.sums[int(y)] += x
    def forward(self, x, task_id=None):
        return -torch.cdist(x.flatten(1).float(), self.sums)
"""

HOLDS_A_POOL = """
from clbench.checks.pools import blobs
class Mine(GradientStrategy):
    def begin(self, task):
        self.source = lambda: held
        held = {"pool": [blobs("images")]}
        return task
"""

LOOKS_AT_ITS_CALLER = """
import sys
class Mine(GradientStrategy):
    def learn(self, task):
        self.run = sys._getframe(1).f_locals["run"]
        super().learn(task)
"""

NEEDS_EVERYTHING = """
class Mine(GradientStrategy):
    needs = Needs(
        task_id=True, boundaries=True, disjoint_classes=True, n_tasks=True, labels=True
    )
"""

UNDECLARED_BOUNDARIES = strategy("""
    def consolidate(self, task):
        self.mean_loss.add_(task.classes.sum())
""")

WRONG_MEMORY_BYTES = strategy("""
    def memory_bytes(self):
        return 10**9
""")

PARTS_OF_ITS_OWN = strategy("""
    def begin(self, task):
        stored = not isinstance(vars(task).get("x", vars(task).get("_x")), torch.Tensor)
        return task.part(torch.arange(len(task) - 1)) if stored else task
""")

BROKEN = [
    ("learns_above_chance", CONSTANT, "guessing"),
    ("learns_above_chance", UNDECLARED_BOUNDARIES, "mine.py line"),
    ("predicts_without_changing_anything", COUNTS_CALLS, "calls"),
    ("predicts_without_changing_anything", TRAINS_IN_FORWARD, "model."),
    ("predicts_without_changing_anything", NOISY_FORWARD, "random"),
    ("gives_the_same_scores_in_any_batch", BATCH_STATISTICS, "batches of 1"),
    ("gives_the_same_scores_in_any_batch", WRONG_SHAPE, "shape (48, 2)"),
    ("continues_bit_for_bit_in_a_new_process", REPLAY_FROM_A_LIST, "state_dict()"),
    ("continues_bit_for_bit_in_a_new_process", PLAIN_ATTRIBUTE, "state_dict()"),
    ("gives_the_same_bits_for_the_same_seed", CLASS_LEVEL_MEMORY, "class"),
    ("gives_the_same_bits_for_the_same_seed", OWN_GENERATOR, "generator"),
    ("keeps_its_state_in_tensors_of_constant_size", GROWING_BUFFER, "seen goes from"),
    ("keeps_its_state_in_tensors_of_constant_size", LONG_LIST_IN_STATE, "5000 numbers"),
    ("keeps_its_state_in_tensors_of_constant_size", LONG_DICT_IN_STATE, "5000 numbers"),
    ("keeps_its_state_in_tensors_of_constant_size", OBJECT_IN_STATE, "type set"),
    ("learns_from_data_larger_than_memory", PARTS_OF_ITS_OWN, "differs where"),
    ("hides_no_growing_memory", UNUSED_LIST, "grow"),
    ("hides_no_growing_memory", REPLAY_FROM_A_LIST, "grow"),
    ("works_under_permuted_class_ids", ORDER_OF_CLASSES, "renumbered"),
    ("works_with_odd_batch_sizes", BATCHES_OF_ODD_SIZE, "mine.py line"),
    ("works_with_a_single_sample", SPREAD_OF_THE_TASK, "NaN"),
    ("works_with_one_class_at_a_time", TWO_CLASSES_AT_LEAST, "mine.py line"),
    ("works_in_float64", FIXED_DTYPE, "torch.float32"),
    ("refuses_senseless_settings", SKIPS_THE_CHECKS, "lr=-1"),
    ("makes_tensors_on_the_device_of_its_data", DEFAULT_DEVICE, "mine.py line"),
    ("makes_tensors_on_the_device_of_its_data", DEFAULT_DEVICE_UNUSED, "device=x.device"),
    ("never_waits_for_the_device_in_its_inner_loop", ITEM_IN_LOSS, "_local_scalar_dense"),
    ("never_waits_for_the_device_in_its_inner_loop", IF_IN_STEP, "step() waits"),
    ("never_waits_for_the_device_in_its_inner_loop", MASK_IN_DRAW, "bool mask"),
    ("never_waits_for_the_device_in_its_inner_loop", NONZERO_IN_LOSS, "nonzero"),
    ("never_waits_for_the_device_in_its_inner_loop", TOLIST_IN_STEP, "tolist"),
    ("never_waits_for_the_device_in_its_inner_loop", ITEM_IN_LEARN, "learn() waits"),
    ("cannot_reach_the_stream", HOLDS_A_POOL, "TensorPool"),
    ("cannot_reach_the_stream", LOOKS_AT_ITS_CALLER, "is a Run"),
    ("reports_sane_diagnostics", WRONG_MEMORY_BYTES, "memory_bytes()"),
]
