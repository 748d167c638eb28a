"""Settings of plug-ins under the contract suites."""

from __future__ import annotations

from pathlib import Path

TRANSFORMER = str(Path(__file__).parent / "small_vit.py")
PROMPTED = (("model", TRANSFORMER), ("model.tune", "head"), ("lr", "0.1"))
SMALL = {
    "coda_prompt": (*PROMPTED, ("blocks", "[0,1]"), ("components", "12"), ("length", "2")),
    "dualprompt": (*PROMPTED, ("general_blocks", "[0]"), ("expert_blocks", "[1]")),
    "inflora": PROMPTED,
    "l2p": (*PROMPTED, ("prompts", "4"), ("length", "2"), ("top", "2")),
    "wrn": (("depth", "10"), ("width", "1")),
    "redo": (("reset_period", "7"),),
    "podnet": (("finetune_epochs", "1"), ("memory_size", "60")),
    "gdumb": (("memory_epochs", "5"),),
    "generative_replay": (("generator_width", "64"), ("generator_updates", "2")),
    "kanerva_pp": (
        *(("generator_width", "32"), ("generator_updates", "1"), ("memory_side", "8")),
        *(("episode", "24"), ("n_keys", "60")),
    ),
    "condensed_replay": (("networks", "1"), ("steps", "2"), ("network_steps", "1")),
    "dkvb": (("codebooks", "16"), ("keys", "64")),
    "expansion": (("memory_size", "60"),),
    "ranpac": (("projection", "128"),),
    "ridge": (("projection", "128"),),
    "bic": (("memory_size", "60"),),
}
"""Settings of plug-ins that are large, train for long, or do nothing in so short a run; and the model
of those that need one of a kind."""


def words_of(name: str) -> list[str]:
    """The settings of a strategy as words of a command line, less the passes."""
    pairs = dict(SMALL.get(name, ()))
    pairs.pop("epochs", None)
    heads = {key: key if key.startswith("model") else f"strategy.{key}" for key in pairs}
    return [f"{heads[key]}={value}" for key, value in pairs.items()]
