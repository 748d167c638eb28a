"""The base of data sets that read the user's own files: a test split made where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from clbench.data.dataset import DataSet
from clbench.errors import UsageError
from clbench.settings import AtLeast, Within


@dataclass(frozen=True)
class OwnData(DataSet):
    """Settings of data sets whose files have a test split, or have none."""

    split: Annotated[float | None, Within(0, 1, open_low=True, open_high=True)] = None
    """Share of each class's training samples that become the test split, for data without one; 0.2
    keeps a fifth. A hash of each sample decides; equal samples stay together."""

    split_seed: Annotated[int, AtLeast(0)] = 0
    """Seed of that hash: another seed takes other samples. The run's seed does not change the split."""

    def makes_split(self, where: Path | str, has_test: bool) -> bool:
        """Whether the test split is to be made from the training samples.

        Args:
            where: the file or folder, for errors.
            has_test: whether the data bring a test split.

        Raises:
            UsageError: there is no test split, or there are two.
        """
        if has_test and self.split is not None:
            raise UsageError(
                f"data.split={self.split}: {where} has a test split already; drop data.split"
            )
        if not has_test and self.split is None:
            raise UsageError(
                f"{where}: has no test split; add one, or set data.split=0.2, which takes a fifth of "
                "each class's training samples for testing"
            )
        return not has_test
