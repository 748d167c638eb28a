"""Words to settings: what OmegaConf would get wrong, sweeps, precedence, and what names a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from clbench.configure.config import RunConfig, resolve
from clbench.configure.sweep import split_top, sweep
from clbench.errors import UsageError
from clbench.util.hashing import sha256_of

BASE = ("scenario=scole", "strategy=ewc")


def one(*words: str, file: Path | None = None) -> RunConfig:
    given_ = {w.partition("=")[0] for w in words}
    base = [] if file else [w for w in BASE if w.partition("=")[0] not in given_]
    [config] = resolve([*base, *words], file)
    return config


def message(*words: str, file: Path | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        one(*words, file=file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- values --------------------------------------------------------------------------------------


def test_scalars_are_taken_as_written():
    assert one("seed=010").common.seed == 10
    assert one("strategy.lam=1e-3").strategy.lam == 1e-3
    assert one("strategy.clip_norm=null").strategy.clip_norm is None
    assert one("scenario.n_tasks=null").scenario.n_tasks is None
    assert one("scenario.forgetting=true").scenario.forgetting is True
    assert one("model=mlp", "model.hidden=[8,16]").model.hidden == (8, 16)
    assert one("model=mlp", "model.hidden=[]").model.hidden == ()
    assert one("eval_every=10").common.eval_every == "10"
    assert one("data=npz", "data.path=no", "model=mlp").data.path == Path("no")


@pytest.mark.parametrize(
    "word",
    [
        "device=no",
        "device=gpu",
        "device=cuda:x",
        "seed=12:30",
        "seed=1.5",
        "seed=true",
        "seed=x",
        "seed=-1",
        "seed=null",
        "strategy.lam=12:30",
        "strategy.lam=yes",
        "strategy.mode=offline",
        "scenario.n_tasks=1e3",
        "scenario.n_tasks=2.0",
        "scenario.forgetting=maybe",
        "strategy.batch_size=[1]",
        "strategy.lr=[",
        "strategy.lr={a: 1}",
        "eval_every=0",
        "eval_every=often",
        "eval_every=-1",
        "eval_every=1.5",
        "threads=-1",
        "max_tasks=0",
        "checkpoint_seconds=nan",
        "checkpoint_seconds=-1",
        "evaluate_on=train",
        "strategy.lr=nan",
        "strategy.lr=-0.1",
        "strategy.lr=0",
        "strategy.lr=inf",
        "strategy.momentum=nan",
        "strategy.momentum=1",
        "strategy.momentum=-0.1",
        "strategy.weight_decay=nan",
        "strategy.weight_decay=-1",
        "strategy.clip_norm=nan",
        "strategy.clip_norm=0",
        "strategy.batch_size=0",
        "strategy.epochs=0",
        "strategy.lam=nan",
        "strategy.lam=-1",
        "strategy.lam=inf",
        "strategy.gamma=1.1",
        "strategy.gamma=nan",
        "strategy.fisher_samples=0",
        "scenario.share=nan",
        "scenario.n_tasks=-3",
    ],
)
def test_wrong_values_are_refused_naming_the_setting(word: str):
    assert word.partition("=")[0] in message(word)


@pytest.mark.parametrize(
    "word", ["seed", "seed=", "=3", "", "strategy.lr=", "strategy.lr=0.1,", "seed=,1"]
)
def test_half_words_are_refused(word: str):
    with pytest.raises(UsageError):
        sweep([*BASE, word])


def test_giving_a_key_twice_is_refused():
    assert "seed is given twice" in message("seed=1", "seed=2")


def test_the_environment_is_out_of_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SECRET", "0.5")
    assert "interpolation" in message("strategy.lr=${oc.env:SECRET}")
    assert "interpolation" in message("device=${device}")
    file = tmp_path / "c.yaml"
    file.write_text("scenario: scole\nstrategy: ewc\nstrategy.lr: ${oc.env:SECRET}\n")
    assert "interpolation" in message(file=file)


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("strategy=ewd", "'ewc'"),
        ("scenario=scol", "'scole'"),
        ("data=digit", "'digits'"),
        ("model=mpl", "'mlp'"),
        ("strategy.lamm=3", "'lam'"),
        ("scenario.n_task=3", "'n_tasks'"),
        ("sead=1", "'seed'"),
        ("strateg.lam=1", "'strategy'"),
        ("devise=cpu", "'device'"),
        ("model.hiden=[3]", "'hidden'"),
    ],
)
def test_unknown_names_get_the_nearest(word: str, hint: str):
    assert f"did you mean {hint}?" in message(word)


def test_required_groups():
    for words in (["scenario=scole"], ["strategy=ewc"], []):
        with pytest.raises(UsageError, match="is required"):
            resolve(words)


def test_a_common_setting_has_no_parts():
    assert "seed.x" in message("seed.x=1")


def test_a_path_that_is_not_there():
    assert "no such file" in message("strategy=nowhere/mine.py")


# --- sweeps --------------------------------------------------------------------------------------


def test_the_last_key_varies_fastest():
    points = sweep(["scenario=scole", "strategy=naive,ewc", "strategy.lr=0.1,0.2", "seed=0..1"])
    assert [(p["strategy"], p["strategy.lr"], p["seed"]) for p in points] == [
        (s, lr, seed) for s in ("naive", "ewc") for lr in ("0.1", "0.2") for seed in ("0", "1")
    ]


def test_ranges_are_inclusive():
    assert [c.common.seed for c in resolve([*BASE, "seed=0..4"])] == [0, 1, 2, 3, 4]
    assert split_top("0..2,7") == ["0", "1", "2", "7"]
    assert split_top("3..3") == ["3"]
    for bad in ("4..0", "0..100000000"):
        with pytest.raises(UsageError):
            split_top(bad)


def test_commas_in_brackets_do_not_sweep():
    assert split_top("[1,2],[3]") == ["[1,2]", "[3]"]
    configs = resolve([*BASE, "model=mlp", "model.hidden=[8,8],[4]"])
    assert [c.model.hidden for c in configs] == [(8, 8), (4,)]


@given(st.lists(st.from_regex(r"[a-z0-9_./-]{1,6}|\[[0-9],[0-9]\]", fullmatch=True), min_size=1))
def test_splitting_undoes_joining(parts: list[str]):
    parts = [p for p in parts if ".." not in p] or ["a"]
    assert split_top(",".join(parts)) == parts


def test_one_arm_is_addressed_by_name():
    points = resolve(["scenario=scole", "strategy=naive,ewc", "ewc.lam=3"])
    assert [c.plugins["strategy"].name for c in points] == ["naive", "ewc"]
    assert points[1].strategy.lam == 3
    points = resolve(["strategy=naive,ewc", "ewc.lam=1,3", "scenario=scole"])
    assert [(c.plugins["strategy"].name, getattr(c.strategy, "lam", None)) for c in points] == [
        ("naive", None),
        ("ewc", 1),
        ("ewc", 3),
    ]


def test_a_setting_that_one_arm_lacks_is_refused():
    with pytest.raises(UsageError, match=r"address one arm"):
        resolve(["scenario=scole", "strategy=naive,ewc", "strategy.lam=3"])


def test_an_arm_that_is_not_in_the_sweep_is_refused():
    assert "ewc" in message("strategy=naive", "ewc.lam=3")


# --- files ---------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(
        "scenario: scole\nstrategy: {name: ewc, lam: 3, lr: 0.5}\nseed: 4\nmodel: mlp\n"
        "model.hidden: [5, 6]\nscenario.n_tasks: null\neval_every: 7\n"
    )
    return path


def test_file_values(file: Path):
    config = one(file=file)
    assert (config.strategy.lam, config.strategy.lr, config.common.seed) == (3, 0.5, 4)
    assert config.model.hidden == (5, 6)
    assert config.scenario.n_tasks is None
    assert config.common.eval_every == "7"


def test_the_command_line_wins_over_the_file(file: Path):
    config = one("strategy.lam=9", "seed=1", "model.hidden=[2]", file=file)
    assert (config.strategy.lam, config.strategy.lr, config.common.seed) == (9, 0.5, 1)
    assert config.model.hidden == (2,)


def test_another_option_of_a_group_drops_the_files_settings_of_the_first(file: Path):
    config = one("strategy=naive", file=file)
    assert config.plugins["strategy"].name == "naive"
    assert config.strategy.lr is None
    assert one("strategy=ewc", file=file).strategy.lam == 3


def test_a_setting_given_before_its_group_counts(file: Path):
    assert one("strategy.lr=0.25", "strategy=naive", file=file).strategy.lr == 0.25
    assert one("strategy=naive", "strategy.lr=0.25", file=file).strategy.lr == 0.25


@pytest.mark.parametrize(
    "text",
    [
        "- a\n",
        "",
        "3\n",
        "a: [\n",
        "\x00",
        "sead: 1\n",
        "strategy: {lam: .nan}\n",
        "strategy: {lr: [1, 2]}\n",
        "seed: 1.5\n",
        "scenario: {name: scole, foo: 1}\n",
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        resolve([*BASE], path)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path):
    assert "nowhere.yaml" in message(file=tmp_path / "nowhere.yaml")
    assert "--config" in message(file=tmp_path)
    (tmp_path / "latin").write_bytes(b"seed: \xff\xfe")
    assert "latin" in message(file=tmp_path / "latin")


# --- what names a run ----------------------------------------------------------------------------


def test_identity_leaves_out_what_changes_no_result():
    same = one().identity()
    for word in ("seed=3", "device=cpu", "max_tasks=9", "checkpoint_seconds=1"):
        assert one(word).identity() == same, word
    for word in ("strategy.lam=2", "eval_every=3", "evaluate_on=val", "scenario.n_tasks=9"):
        assert one(word).identity() != same, word
    assert one("compile=false").identity() == same
    assert "compile" not in same  # as in runs from before it came
    assert one("compile=true").identity() != same
    npz = ("data=npz", "model=mlp")
    assert one(*npz, "data.path=/a/b.npz").identity() == one(*npz, "data.path=c.npz").identity()


def test_no_folder_gets_into_the_settings():
    settings_ = one("data=npz", "model=mlp", "data.path=/home/somebody/b.npz").as_dict()
    assert "somebody" not in str(settings_)


@settings(max_examples=20, deadline=None)
@given(st.permutations(["seed=3", "strategy.lam=2", "scenario.n_tasks=9", "strategy=ewc"]))
def test_the_hash_does_not_depend_on_the_order_of_words(words: list[str]):
    wanted = sha256_of(one("seed=3", "strategy.lam=2", "scenario.n_tasks=9").identity())
    assert sha256_of(one(*words).identity()) == wanted


def test_the_hash_does_not_depend_on_the_order_of_keys():
    assert sha256_of({"a": 1, "b": {"c": 2, "d": 3}}) == sha256_of({"b": {"d": 3, "c": 2}, "a": 1})
    with pytest.raises(ValueError, match="JSON"):
        sha256_of({"a": float("nan")})


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("scenario=domain_incremental", "strategy=joint"),
        ("scenario=class_incremental",),
        ("strategy.lam=2", "model=mlp", "model.hidden=[3,4]", "scenario.n_tasks=null", "seed=5"),
        ("strategy.clip_norm=null", "strategy.lr=1e-5", "eval_every=log", "device=cpu"),
        ("model=mlp", "model.hidden=[]"),
    ],
)
def test_the_settings_of_a_run_can_be_fed_back(tmp_path: Path, words: tuple[str, ...]):
    config = one(*words)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config.as_dict(), sort_keys=False))
    again = one(file=file)
    assert again.as_dict() == config.as_dict()
    assert again.identity() == config.identity()


@pytest.mark.parametrize("threads", ["-1", "4097", "9" * 30])
def test_threads_beyond_any_machine_are_refused(threads: str):
    with pytest.raises(UsageError, match="threads="):
        one(f"threads={threads}")
