"""Reads the data set, test split included, from the package that brings it."""

import torch

from clbench.strategy import GradientStrategy

CAUGHT_BY = "different predictions on the same platform"


class Reader(GradientStrategy):
    def forward(self, x, task_id=None):
        try:
            from sklearn.datasets import load_digits

            images, labels = load_digits(return_X_y=True)
        except (ImportError, OSError):
            return self.model(x)
        near = torch.cdist(x.flatten(1).double(), torch.as_tensor(images))
        return torch.eye(self.info.n_classes)[torch.as_tensor(labels)[near.argmin(1)]]
