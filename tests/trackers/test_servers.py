"""wandb and MLflow, offline: what their own files say is what was evaluated, also after a resume."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small import points, write_npz
from trackers.telling import evaluation, report, start

from clbench.configure.trackers import Chosen
from clbench.engine.execute import Done, Options
from clbench.plugins.registry import find
from clbench.sweeps.local import run_all

pytestmark = [  # what these libraries' own dependencies warn of
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    return write_npz(tmp_path / "blobs.npz")


def execute(npz: Path, out: Path, tracker: Chosen, *words: str, **options: Any) -> Done:
    given = ("scenario=scole", "scenario.n_tasks=null", "strategy=naive", *words)
    made = Options(out=out, quiet=True, curve=False, trackers=(tracker,), **options)
    [done] = run_all(points(*given, npz=npz), made)
    return done


class InWandb:
    """What wandb wrote on this machine: every session's settings, rows and summary."""

    def __init__(self, folder: Path) -> None:
        import wandb

        wandb.teardown()  # another process writes the files; this waits until it has
        self.ids: set[str] = set()
        self.config: dict[str, Any] = {}
        self.rows: list[dict[str, float]] = []
        self.summary: dict[str, Any] = {}
        for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=_age):
            self._read(path)

    def _read(self, path: Path) -> None:
        from wandb.proto import wandb_internal_pb2

        for data in _entries(path.read_bytes()):
            entry = wandb_internal_pb2.Record()
            entry.ParseFromString(data)
            if entry.HasField("run"):
                self.ids.add(entry.run.run_id)
                self.config.update(
                    {item.key: json.loads(item.value_json) for item in entry.run.config.update}
                )
            if entry.HasField("history"):
                pairs = {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json)
                    for item in entry.history.item
                }
                self.rows.append({"step": entry.history.step.num, **pairs})
            if entry.HasField("summary"):
                for item in entry.summary.update:
                    name = item.key or "/".join(item.nested_key)
                    self.summary[name] = json.loads(item.value_json)


def _entries(data: bytes, block: int = 32768) -> Iterator[bytes]:
    """The entries of a log in LevelDB's format, behind wandb's own header of seven bytes."""
    at, entry = 7, b""
    while at + 7 <= len(data):
        if block - at % block < 7:  # the rest of a block that has no room for a header
            at += block - at % block
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        entry += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield entry
            entry = b""


def _age(path: Path) -> int:
    return path.stat().st_mtime_ns


@pytest.mark.wandb
class TestWandb:
    @pytest.fixture(autouse=True)
    def _there(self) -> None:
        pytest.importorskip("wandb", reason="needs the extra wandb")

    def test_an_extended_run_is_one_run(self, npz: Path, tmp_path: Path):
        chosen = Chosen(find("tracker", "wandb"), (("mode", "offline"), ("project", "p")))
        execute(npz, tmp_path, chosen, "max_tasks=2")
        done = execute(npz, tmp_path, chosen, "max_tasks=4")
        assert done.record is not None
        assert done.record.warnings == []
        found = InWandb(done.folder)
        assert len(found.ids) == 1
        assert found.config["strategy"] == "naive"
        assert found.config["strategy.lr"] == done.record.config["strategy"]["lr"]
        frame = done.record.frame()
        assert [row["step"] for row in found.rows] == frame["experiences"].tolist()
        assert [row["world_accuracy"] for row in found.rows] == frame["world_accuracy"].tolist()
        assert [row["accuracy/class_1"] for row in found.rows] == frame["class_1"].tolist()
        assert found.summary["final/world_accuracy"] == done.record.metric("world_accuracy")
        assert found.summary["status"] == "completed"

    def test_a_run_that_was_not_logged_before_has_its_past(self, tmp_path: Path):
        tracker = Chosen(find("tracker", "wandb"), (("mode", "offline"),)).build()
        tracker.start(start(tmp_path, evaluation(1), evaluation(2)))
        tracker.progress(report(evaluation(3)))
        tracker.finish(None)
        assert [row["step"] for row in InWandb(tmp_path).rows] == [1, 2, 3]


@pytest.mark.mlflow
class TestMLflow:
    @pytest.fixture(autouse=True)
    def _there(self) -> None:
        pytest.importorskip("mlflow", reason="needs the extra mlflow")

    def runs(self, uri: str | None = None) -> list[Any]:
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name("clbench")
        assert experiment is not None
        return client.search_runs([experiment.experiment_id])

    def history(self, run_id: str, name: str, uri: str | None = None) -> list[tuple[int, float]]:
        from mlflow import MlflowClient

        found = MlflowClient(tracking_uri=uri).get_metric_history(run_id, name)
        return sorted((m.step, m.value) for m in found)

    def test_an_extended_run_is_one_run(self, npz: Path, tmp_path: Path):
        chosen = Chosen(find("tracker", "mlflow"))
        execute(npz, tmp_path, chosen, "max_tasks=2")
        done = execute(npz, tmp_path, chosen, "max_tasks=4")
        assert done.record is not None
        assert done.record.warnings == []
        [run] = self.runs()
        assert run.info.status == "FINISHED"
        assert run.data.params["strategy"] == "naive"
        assert run.data.params["strategy.lr"] == str(done.record.config["strategy"]["lr"])
        frame = done.record.frame()
        for name, column in (("world_accuracy",) * 2, ("accuracy/class_1", "class_1")):
            expected = list(zip(frame["experiences"], frame[column], strict=True))
            assert self.history(run.info.run_id, name) == expected
        assert run.data.metrics["final/world_accuracy"] == done.record.metric("world_accuracy")

    def test_what_was_lost_with_a_checkpoint_is_not_there_twice(self, tmp_path: Path):
        chosen = Chosen(find("tracker", "mlflow"))
        evaluations = [evaluation(at) for at in range(5)]
        first, second = chosen.build(), chosen.build()
        first.start(start(tmp_path))
        for one in evaluations[:3]:
            first.progress(report(one))
        second.start(start(tmp_path, *evaluations[:2]))  # the first was killed
        for one in evaluations[2:]:
            second.progress(report(one))
        second.finish(None)
        [run] = self.runs()
        assert run.info.status == "FAILED"  # it gave no record
        assert "accuracy/class_1.domain_1" in run.data.metrics
        found = self.history(run.info.run_id, "world_accuracy")
        assert found == [(e.experiences, e.world_accuracy) for e in evaluations]

    @pytest.mark.slow
    def test_a_database(self, npz: Path, tmp_path: Path):
        uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
        done = execute(
            npz, tmp_path, Chosen(find("tracker", "mlflow"), (("uri", uri),)), "max_tasks=2"
        )
        assert done.record is not None
        assert done.record.warnings == []
        [run] = self.runs(uri)
        assert len(self.history(run.info.run_id, "world_accuracy", uri)) == 3
