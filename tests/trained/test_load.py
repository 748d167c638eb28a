"""Trained strategies in hand: what they answer is what their runs counted, wherever they come from."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import clbench, tiny
from small import write_npz

import clbench as face
from clbench.errors import ClbenchError, UsageError
from clbench.results.record import Record
from clbench.trained.loaded import Loaded

Capture = pytest.CaptureFixture[str]
CASES = {
    "er": ("scenario=class_incremental", "strategy=er", "eval_every=3"),
    "gdumb": ("scenario=scole", "scenario.n_tasks=3", "strategy=gdumb", "eval_every=2"),
    "slda": ("scenario=scole", "scenario.n_tasks=3", "strategy=slda"),
    "tasks": ("scenario=task_incremental", "strategy=naive"),
    "normalised": ("scenario=domain_incremental", "scenario.n_tasks=2", "strategy=ewc"),
}
WITH = {"normalised": ("data.normalize=data",)}


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("data") / "blobs.npz", shape=(6, 6))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def runs(npz: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("runs")
    common = ("data=npz", f"data.path={npz}", "device=cpu", "model=mlp", "model.hidden=[8]")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clbench.results.plots.save_curve", lambda records, path: None)
        for name, words in CASES.items():
            face.run(
                *words,
                *common,
                *WITH.get(name, ()),
                "save_predictions=true",
                out=out / name,
                quiet=True,
                tracker=None,
            )
            [record] = (out / name).rglob("record.json")
            found[name] = record.parent
    return found


def right_of(loaded: Loaded) -> list[int]:
    """Right answers in each cell, of samples that were transformed as the stream says."""
    world = loaded.stream.world()
    task = world.task_id
    labels = loaded.predict(world.x, task)
    truth = np.array(loaded.stream.labels)[world.y.numpy()]
    return np.bincount(
        world.cell.numpy(), weights=labels == truth, minlength=len(world.cells)
    ).tolist()


@pytest.mark.parametrize("name", CASES)
def test_a_loaded_strategy_answers_as_its_run_did(runs: dict[str, Path], name: str):
    loaded = face.load(str(runs[name]))
    assert loaded.record is not None
    assert right_of(loaded) == loaded.record.counts["correct"][-1]
    assert loaded.stream.experience(0).x.shape[1:] == (6, 6)
    assert "4 classes" in repr(loaded)


@pytest.mark.parametrize("name", CASES)
def test_an_exported_strategy_gives_the_same_bits_without_data(
    runs: dict[str, Path], npz: Path, tmp_path: Path, capsys: Capture, name: str
):
    file = tmp_path / "m.safetensors"
    assert clbench(capsys, "export", runs[name], "--model", file).code == 0
    assert str(npz.parent).encode() not in file.read_bytes(), "no path of this machine is in it"
    before, after = face.load(runs[name]), face.load(file)
    x = torch.arange(7 * 36, dtype=torch.uint8).reshape(7, 6, 6)
    task = 1 if name == "tasks" else None
    assert torch.equal(before.scores(x, task), after.scores(x, task))
    assert after.record is None
    with pytest.raises(UsageError, match=r"data\.path|no such file"):
        _ = after.stream
    again = face.load(file, f"data.path={npz}")
    assert again.stream.sha256 == before.stream.sha256


@pytest.mark.parametrize("name", CASES)
def test_kept_predictions_are_those_of_the_last_evaluation(runs: dict[str, Path], name: str):
    record = Record.load(str(runs[name]))
    with np.load(runs[name] / "predictions.npz", allow_pickle=False) as kept:
        found = {key: kept[key] for key in kept.files}
    right = np.bincount(found["cell"], weights=found["answer"] == found["label"])
    assert right.tolist() == record.counts["correct"][-1]
    cells = record.counts["cells"]
    assert np.bincount(found["cell"]).tolist() == [cell["size"] for cell in cells]
    assert {c["label"] for c in cells} == set(found["label"].tolist())
    tasks = {-1 if c["task_id"] is None else c["task_id"] for c in cells}
    assert set(found["task_id"].tolist()) == tasks
    confusion = np.zeros_like(record.confusion().to_numpy())
    np.add.at(confusion, (found["label"], found["answer"]), 1)
    assert (confusion == record.confusion().to_numpy()).all()


def test_predictions_of_a_finished_run_come_without_running_it_again(
    npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    words = (*tiny(npz), "strategy=gdumb", "eval_every=2")
    first = face.run(*words, out=tmp_path, quiet=True, tracker=None)
    [record] = tmp_path.rglob("record.json")
    assert not (record.parent / "predictions.npz").exists()
    monkeypatch.setattr("clbench.engine.execute._run", pytest.fail)
    again = face.run(*words, "save_predictions=true", out=tmp_path, quiet=True, tracker=None)
    assert again == first
    with np.load(record.parent / "predictions.npz") as kept:
        assert (kept["answer"] == kept["label"]).sum() == sum(first.counts["correct"][-1])


def test_predict_writes_a_table(runs: dict[str, Path], npz: Path, tmp_path: Path, capsys: Capture):
    out = tmp_path / "answers.csv"
    words = ("predict", runs["er"], "--data", npz, "--out", out, "--scores")
    code, told, err = clbench(capsys, *words)
    assert (code, err) == (0, "")
    loaded = face.load(runs["er"])
    with np.load(npz) as data:
        x, y = data["test_x"], data["test_y"]
    labels = loaded.predict(x)
    rows = [*csv.DictReader(out.read_text().splitlines())]
    assert [int(row["answer"]) for row in rows] == labels.tolist()
    assert [int(row["right"]) for row in rows] == (labels == y).astype(int).tolist()
    assert f"{len(y)} answers, {(labels == y).sum()} right" in told
    scores = [[float(row[f"score_{k}"]) for k in loaded.classes.pool_labels] for row in rows]
    np.testing.assert_allclose(scores, loaded.scores(x).numpy(), rtol=1e-4)
    assert clbench(capsys, *words).code == 2, "it is there"
    assert clbench(capsys, *words, "--overwrite").code == 0


def test_what_is_no_npz_is_told_how_to_make_one(
    runs: dict[str, Path], tmp_path: Path, capsys: Capture
):
    table = tmp_path / "mine.csv"
    table.write_text("1,2,3\n")
    ran = clbench(capsys, "predict", runs["er"], "--data", table, "--out", tmp_path / "a.csv")
    assert ran.code == 2
    assert "is no .npz file of plain arrays: numpy.savez makes one" in ran.err
    assert "pickle" not in ran.err


def test_names_of_classes_run_in_no_spreadsheet(npz: Path, tmp_path: Path, capsys: Capture):
    with np.load(npz) as data:
        named = tmp_path / "named.npz"
        names = np.array(["=1+1", "@x", "plain", "-2"])
        np.savez(named, **{k: data[k] for k in data.files}, class_names=names)
    words = ("scenario=scole", "scenario.n_tasks=2", "strategy=slda", "device=cpu")
    face.run(*words, "data=npz", f"data.path={named}", out=tmp_path, quiet=True, tracker=None)
    [record] = tmp_path.rglob("record.json")
    out = tmp_path / "a.csv"
    clbench(capsys, "predict", record.parent, "--data", named, "--out", out)
    found = {row["name"] for row in csv.DictReader(out.read_text().splitlines())}
    assert found <= {"'=1+1", "'@x", "plain", "'-2"}
    assert any(name.startswith("'") for name in found)


@pytest.mark.parametrize(
    ("x", "task", "told"),
    [
        (
            np.zeros((2, 5, 5), np.uint8),
            None,
            r"samples are \(2, 5, 5\) uint8.*\(n, 6, 6\) uint8",
        ),
        (np.zeros((2, 6, 6), np.float32), None, "float32.*uint8"),
        (np.zeros((2, 6, 6), np.uint8), 0, "tells no task"),
    ],
)
def test_samples_that_do_not_fit_are_refused(runs: dict[str, Path], x, task, told: str):
    with pytest.raises(UsageError, match=told):
        face.load(runs["er"]).scores(x, task)


def test_tasks_are_asked_for_where_they_are_told(runs: dict[str, Path]):
    loaded, x = face.load(runs["tasks"]), np.zeros((3, 6, 6), np.uint8)
    for task, told in (
        (None, "give it"),
        (9, "task 9: the run has tasks 0 to"),
        ([0], "one for each"),
    ):
        with pytest.raises(UsageError, match=told):
            loaded.scores(x, task)
    for task, classes in loaded.classes.of_task.items():
        scores = loaded.scores(x, task)
        assert (scores.isfinite().sum(1) == len(classes)).all()
        assert set(scores.argmax(1).tolist()) <= set(classes)
    each = loaded.scores(x, [0, 1, 0])
    assert torch.equal(each[1], loaded.scores(x, 1)[1])


@pytest.mark.parametrize("layout", ["channel", "last"])
def test_images_come_as_the_data_have_them(runs: dict[str, Path], layout: str):
    loaded = face.load(runs["er"])
    x = np.arange(2 * 36, dtype=np.uint8).reshape(2, 6, 6)
    other = x[:, None] if layout == "channel" else x[..., None]
    assert torch.equal(loaded.scores(x), loaded.scores(other))
    assert loaded.scores(x[:0]).shape == (0, 4)


def test_no_samples_and_objects_are_refused(runs: dict[str, Path], tmp_path: Path, capsys: Capture):
    np.savez(tmp_path / "a.npz", z=np.zeros(3))
    np.savez(tmp_path / "b.npz", x=np.array([{}], dtype=object))
    np.savez(tmp_path / "c.npz", x=np.zeros((2, 6, 6), np.uint8), y=np.zeros(3, int))
    (tmp_path / "d.npz").write_bytes(b"PK no")
    for name in ("a", "b", "c", "d", "e"):
        out = tmp_path / "out.csv"
        ran = clbench(
            capsys, "predict", runs["er"], "--data", tmp_path / f"{name}.npz", "--out", out
        )
        assert (ran.code, ran.out, out.exists()) == (2, "", False)
        assert ran.err.count("\n") == 1


def test_what_is_no_run_is_refused(runs: dict[str, Path], tmp_path: Path, capsys: Capture):
    with pytest.raises(UsageError, match="is no run's folder"):
        face.load(tmp_path)
    copy = shutil.copytree(runs["er"], tmp_path / "copy")
    (copy / "checkpoint").unlink()
    with pytest.raises(UsageError, match="holds no checkpoint"):
        face.load(copy)
    weights = tmp_path / "w.safetensors"
    assert clbench(capsys, "export", runs["er"], "--weights", weights).code == 0
    with pytest.raises(UsageError, match="holds no trained strategy"):
        face.load(weights)
    model = tmp_path / "m.safetensors"
    clbench(capsys, "export", runs["er"], "--model", model)
    model.write_bytes(model.read_bytes().replace(b'\\"of_task\\"', b'\\"if_task\\"'))
    with pytest.raises(ClbenchError, match="is damaged"):
        face.load(model)
    ran = clbench(capsys, "export", runs["er"])
    assert (ran.code, ran.err.count("--model FILE")) == (2, 1)


OWN = '''"""A strategy of one's own."""
from clbench.strategy import GradientStrategy

class Own(GradientStrategy):
    pass
'''


def test_a_file_of_ones_own_is_named_again(npz: Path, tmp_path: Path, capsys: Capture):
    own = tmp_path / "own.py"
    own.write_text(OWN)
    words = (*tiny(npz), f"strategy={own}", "strategy.lr=0.03")
    face.run(*words, out=tmp_path / "runs", quiet=True, tracker=None)
    [record] = (tmp_path / "runs").rglob("record.json")
    model = tmp_path / "m.safetensors"
    assert clbench(capsys, "export", record.parent, "--model", model).code == 0
    moved = own.rename(tmp_path / "elsewhere.py")
    with pytest.raises(UsageError, match=r"unknown strategy 'own'.*strategy=FILE\.py"):
        face.load(model)
    with pytest.raises(UsageError, match="no such file"):
        face.load(record.parent)
    x = np.zeros((1, 6, 6), np.uint8)
    found = [face.load(path, f"strategy={moved}") for path in (record.parent, model)]
    assert torch.equal(found[0].scores(x), found[1].scores(x))
    assert [one.strategy.config.lr for one in found] == [0.03, 0.03]


def test_onnx_scores_as_the_strategy_does(runs: dict[str, Path], tmp_path: Path, capsys: Capture):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    x = np.arange(5 * 36, dtype=np.uint8).reshape(5, 6, 6)
    for name in ("er", "slda", "gdumb", "normalised"):
        file = tmp_path / f"{name}.onnx"
        assert clbench(capsys, "export", runs[name], "--onnx", file).code == 0
        [scores] = runtime.InferenceSession(file).run(None, {"samples": x})
        np.testing.assert_allclose(scores, face.load(runs[name]).scores(x), rtol=1e-3, atol=1e-4)
    ran = clbench(capsys, "export", runs["tasks"], "--onnx", tmp_path / "t.onnx")
    assert ran.code == 2
    assert "told the task" in ran.err
