"""What is known of the strategies of avalanche-lib 0.6: found by running each; tests hold it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

VERSION = "0.6"
"""Of avalanche-lib. Nothing is known of another one: there everything is tried."""


@dataclass(frozen=True)
class Known:
    """What tells one strategy from the others."""

    fails: str = ""
    """Why it cannot be run."""
    package: str = ""
    """What it needs to have installed beside Avalanche."""
    input_size: int | None = None
    """Values of a sample, where it takes no other number."""
    asks_classes: bool = False
    """Whether it asks the benchmark which classes came with which experience."""
    asks_features: bool = False
    """Whether it asks the network for its features."""
    disjoint: bool = False
    """Whether it takes for granted that a class comes in one experience only."""
    grows: str = ""
    """What it keeps of every experience."""
    bounded: tuple[str, object] | None = None
    """The setting, and its value, with which it does not."""
    beware: str = ""
    """What else to know before its numbers are believed."""

    def failing(self) -> str:
        """Why it cannot be run here, if so."""
        if self.package and importlib.util.find_spec(self.package) is None:
            return f"it needs the package {self.package}: pip install {self.package}"
        return self.fails


_SAMPLES = "hold of the samples"
"""Its memory picks some, but as indices into the tensors of whole experiences."""

KNOWN: dict[str, Known] = {
    "AETraining": Known(fails="it trains an autoencoder, not a classifier"),
    "AGEM": Known(grows="samples"),
    "AR1": Known(fails="it trains a MobileNet of its own, whose weights it fetches"),
    "BiC": Known(fails="it calls MultiStepLR(verbose=), which torch has dropped"),
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
        fails="it loops for ever over a class with fewer stored samples than batch_size"
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
    "LearningToPrompt": Known(fails="it prompts a vision transformer of its own"),
    "MER": Known(grows=_SAMPLES),
    "MIR": Known(grows=_SAMPLES),
    "PNNStrategy": Known(fails="it needs Avalanche's model PNN"),
    "PackNet": Known(fails="it needs a model made for it, PackNetModel, and task labels"),
    "Replay": Known(grows=_SAMPLES),
    "SCR": Known(fails="it needs Avalanche's model SCRModel"),
    "SynapticIntelligence": Known(
        beware="on a CPU is naive training: avalanche-lib 0.6 compares the weights with views of "
        "themselves, so every importance stays 0"
    ),
    "VAETraining": Known(fails="it trains an autoencoder, not a classifier"),
}
