"""Settings of encoders: a group like any, and one that a run may lack."""

from __future__ import annotations

from pathlib import Path

import yaml
from test_config import BASE, message, one

from clbench.configure.config import resolve


def test_without_an_encoder_settings_do_not_mention_it():
    for words in ((), ("encoder=none",)):
        config = one(*words)
        assert config.encoder is None
        assert "encoder" not in {**config.as_dict(), **config.identity(), **config.as_file()}
        assert config.as_dict() == one().as_dict()


def test_an_encoder_is_a_group_like_any():
    config = one("encoder=random:mlp", "encoder.seed=3", "encoder.dtype=float16", "data=mnist5k")
    assert config.as_dict()["encoder"] == {
        "name": "random",
        "dtype": "float16",
        "batch_size": 64,
        "of": "mlp",
        "cut": None,
        "resolution": None,
        "pool": None,
        "seed": 3,
    }
    assert config.identity() != one("data=mnist5k", "model=mlp").identity()
    assert config.plugins["model"].name == "mlp"  # vectors, whatever suits the images
    assert one("encoder=random:mlp", "model=linear").plugins["model"].name == "linear"


def test_what_stands_after_a_colon_is_a_setting():
    spelt = one("encoder=random", "encoder.of=mlp")
    assert one("encoder=random:mlp").as_dict() == spelt.as_dict()
    assert one("encoder=random:mlp", "encoder.of=mlp").as_dict() == spelt.as_dict()
    assert "give it once" in message("encoder=random:mlp", "encoder.of=linear")
    assert "takes nothing after a colon" in message("encoder=identity:mlp")
    assert "did you mean 'random'?" in message("encoder=rando:mlp")


def test_settings_of_no_encoder_are_refused():
    assert "add encoder=NAME" in message("encoder.dtype=float16")
    assert "add encoder=NAME" in message("encoder=none", "encoder.dtype=float16")
    assert "did you mean 'dtype'?" in message("encoder=identity", "encoder.dtyp=float16")
    assert "encoder.dtype=int8" in message("encoder=identity", "encoder.dtype=int8")


def test_encoders_sweep_and_are_addressed_by_what_stands_before_the_colon():
    words = ["encoder=none,identity,random:mlp,random:linear", "random.seed=5"]
    configs = resolve([*BASE, *words])
    found = [(c.plugins["encoder"].name, c.encoder) for c in configs if c.encoder is not None]
    assert [name for name, _ in found] == ["identity", "random", "random"]
    assert [getattr(e, "of", None) for _, e in found] == [None, "mlp", "linear"]
    assert [getattr(e, "seed", None) for _, e in found] == [None, 5, 5]
    assert configs[0].encoder is None


def test_a_path_behind_a_colon_leaves_its_folder_at_home(tmp_path: Path):
    config = one(f"encoder=checkpoint:{tmp_path}/a.pt", "encoder.of=mlp")
    assert "encoder=checkpoint:a.pt" in config.overrides
    assert str(tmp_path) not in str((config.overrides, config.as_dict()))


def test_the_settings_of_an_encoder_can_be_fed_back(tmp_path: Path):
    file = tmp_path / "config.yaml"
    config = one("encoder=random:mlp", "encoder.seed=4")
    file.write_text(yaml.safe_dump(config.as_file(), sort_keys=False))
    assert one(file=file).as_dict() == config.as_dict()
    assert one("encoder=none", "model=mlp", file=file).encoder is None
    assert one("encoder=identity", file=file).encoder.dtype == "float32"
