"""Properties of the strategies of avalanche-lib 0.6, found by running each; tests check them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

VERSION = "0.6"
"""The version of avalanche-lib; of another version nothing is known, and everything is tried."""


@dataclass(frozen=True)
class Known:
    """Properties of one strategy."""

    fails: str = ""
    """The reason that it cannot be run."""
    package: str = ""
    """A package that it needs besides Avalanche."""
    input_size: int | None = None
    """The number of values of a sample that it requires, if any."""
    asks_classes: bool = False
    """Whether it asks the benchmark for the classes of each experience."""
    asks_features: bool = False
    """Whether it asks the network for its features."""
    disjoint: bool = False
    """Whether it assumes that each class occurs in one experience only."""
    grows: str = ""
    """What it keeps of every experience."""
    bounded: tuple[str, object] | None = None
    """A setting and value that avoid this."""
    beware: str = ""
    """A further limitation that affects its results."""

    def failing(self) -> str:
        """The reason that it cannot be run in this environment, if any."""
        if self.package and importlib.util.find_spec(self.package) is None:
            return f"it needs the package {self.package}: pip install {self.package}"
        return self.fails


_SAMPLES = "hold of the samples"
"""Its memory picks some, but as indices into the tensors of whole experiences."""

KNOWN: dict[str, Known] = {
    "AETraining": Known(fails="it trains an autoencoder, not a classifier"),
    "AGEM": Known(grows="samples"),
    "AR1": Known(fails="it trains its own MobileNet, whose weights it downloads"),
    "BiC": Known(fails="it calls MultiStepLR(verbose=), which torch has removed"),
    "CWRStar": Known(disjoint=True),
    "CoPE": Known(
        grows=_SAMPLES,
        beware="trains on the first minibatch of an experience alone: it is made for streams that "
        "come in minibatches (scenario.chunk)",
    ),
    "Cumulative": Known(grows="all samples"),
    "DER": Known(grows=_SAMPLES),
    "ER_ACE": Known(grows=_SAMPLES),
    "ER_AML": Known(
        fails="it loops forever over a class with fewer stored samples than batch_size"
    ),
    "EWC": Known(grows="a Fisher and an anchor", bounded=("mode", "online")),
    "ExpertGateStrategy": Known(fails="it needs Avalanche's model ExpertGate"),
    "FeatureReplay": Known(grows="features and hold of the samples"),
    "GDumb": Known(grows=_SAMPLES),
    "GEM": Known(package="quadprog", grows="samples"),
    "GenerativeReplay": Known(input_size=28 * 28),
    "ICaRL": Known(
        disjoint=True, asks_classes=True, grows="exemplars", bounded=("fixed_memory", True)
    ),
    "JointTraining": Known(fails="it needs all experiences at once; try strategy=joint"),
    "LFL": Known(asks_features=True, beware="freezes the output layer after the first experience"),
    "LearningToPrompt": Known(fails="it prompts its own vision transformer"),
    "MER": Known(grows=_SAMPLES),
    "MIR": Known(grows=_SAMPLES),
    "PNNStrategy": Known(fails="it needs Avalanche's model PNN"),
    "PackNet": Known(fails="it needs a model made for it, PackNetModel, and task labels"),
    "Replay": Known(grows=_SAMPLES),
    "SCR": Known(fails="it needs Avalanche's model SCRModel"),
    "SynapticIntelligence": Known(
        beware="is naive training on a CPU: avalanche-lib 0.6 compares the weights with views of "
        "themselves, so every importance stays 0"
    ),
    "VAETraining": Known(fails="it trains an autoencoder, not a classifier"),
}
