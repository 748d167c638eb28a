"""Our streams and strategies in Avalanche, with its metrics and loggers."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from foreign import learn, needs_avalanche, run_of, weights
from small import go, pool, record_of

from clbench.errors import UsageError

pytestmark = needs_avalanche


@pytest.fixture(scope="module")
def bridge() -> Any:
    from clbench.interop import avalanche

    avalanche.avalanche()  # now, so that its warnings at import are nobody's
    return avalanche


def evaluator(*metrics: Any, stream: Any = None) -> Any:
    from avalanche.logging import InteractiveLogger, TextLogger
    from avalanche.training.plugins import EvaluationPlugin

    loggers = [InteractiveLogger()] if stream is None else [TextLogger(stream)]
    return EvaluationPlugin(*metrics, loggers=loggers)


@pytest.mark.parametrize("name", ["ewc", "er"])
def test_a_round_trip_gives_the_run_of_the_harness(
    bridge: Any, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics

    run = run_of(f"strategy={name}", "strategy.epochs=2", "strategy.batch_size=5")
    record = record_of(run, *go(run))
    learner = run.strategy()
    evaluation = evaluator(accuracy_metrics(epoch=True, stream=True), loss_metrics(epoch=True))
    exported = bridge.as_strategy(learner, seed=run.config.common.seed, evaluator=evaluation)
    made = bridge.to_benchmark(run.stream)
    accuracy = []
    for experience in made.train_stream:
        exported.train(experience, eval_streams=[])
        results = exported.eval(made.test_stream)
        accuracy.append(results["Top1_Acc_Stream/eval_phase/test_stream/Task000"])
    world = sum(record.counts["cells"][c]["size"] for c in range(4))
    assert accuracy == pytest.approx([sum(row) / world for row in record.counts["correct"][1:]])
    last = run.stream.experience(4)
    learnt = (learner(last.x).argmax(1) == last.y).float().mean().item()
    assert results["Top1_Acc_Epoch/train_phase/train_stream/Task000"] == pytest.approx(learnt)
    assert "Top1_Acc_Stream/eval_phase/test_stream" in capsys.readouterr().out
    # The same bits as when the harness delivers.
    assert torch.equal(weights(learner), learn(run, run.strategy())[-1])


def test_the_metrics_of_tasks_work_on_a_test_stream_of_tasks(bridge: Any) -> None:
    from avalanche.evaluation.metrics import accuracy_metrics, forgetting_metrics

    words = ("strategy=naive", "strategy.batch_size=5", "strategy.epochs=10")
    run = run_of(*words, "scenario=class_incremental", "scenario.n_tasks=2")
    made = bridge.to_benchmark(run.stream, test="tasks")
    results: dict[str, Any] = {}
    out = io.StringIO()
    metrics = accuracy_metrics(experience=True), forgetting_metrics(experience=True)
    exported = bridge.as_strategy(run.strategy(), evaluator=evaluator(*metrics, stream=out))
    for experience in made.train_stream:
        exported.train(experience, eval_streams=[])
        results = exported.eval(made.test_stream)
    assert results["Top1_Acc_Exp/eval_phase/test_stream/Task000/Exp001"] == 1.0
    assert results["ExperienceForgetting/eval_phase/test_stream/Task000/Exp000"] > 0.5
    assert "ExperienceForgetting" in out.getvalue()


def test_task_identities_are_task_labels(bridge: Any) -> None:
    from avalanche.evaluation.metrics import accuracy_metrics

    run = run_of("strategy=naive", "scenario=task_incremental", "scenario.n_tasks=2", "seed=0")
    with pytest.raises(UsageError, match="test='tasks'"):
        bridge.to_benchmark(run.stream)
    made = bridge.to_benchmark(run.stream, test="tasks")
    assert [e.task_label for e in made.train_stream] == [0, 1]
    evaluation = evaluator(accuracy_metrics(experience=True))
    exported = bridge.as_strategy(run.strategy(), evaluator=evaluation)
    for experience in made.train_stream:
        exported.train(experience, eval_streams=[])
    results = exported.eval(made.test_stream)
    final = record_of(run, *go(run)).metrics["average_accuracy"]["value"]
    both = [results[f"Top1_Acc_Exp/eval_phase/test_stream/Task00{t}/Exp00{t}"] for t in (0, 1)]
    assert sum(both) / 2 == pytest.approx(final)


def test_a_benchmark_holds_the_samples_of_the_stream(bridge: Any) -> None:
    run = run_of("strategy=naive", on=pool(shape=(4, 4)))
    raw = bridge.to_benchmark(run.stream, 2)
    scaled = bridge.to_benchmark(run.stream, 2, scaled=True)
    assert len(raw.train_stream) == 2
    assert len(raw.test_stream) == 1
    assert len(raw.test_stream[0].dataset) == len(run.stream.world().y)
    for number in range(2):
        task = run.stream.experience(number)
        x, y, _ = raw.train_stream[number].dataset[5]
        assert torch.equal(x, task.x[5])
        assert y == int(task.y[5])
        unit = scaled.train_stream[number].dataset[5][0]
        torch.testing.assert_close(unit, task.x[5] / 255)


def test_an_endless_stream_needs_a_number(bridge: Any) -> None:
    run = run_of("strategy=naive", "scenario.n_tasks=null", "max_tasks=2")
    with pytest.raises(UsageError, match="experiences=N"):
        bridge.to_benchmark(run.stream)
    assert len(bridge.to_benchmark(run.stream, 3).train_stream) == 3
    with pytest.raises(UsageError, match="the stream has 5"):
        bridge.to_benchmark(run_of("strategy=naive").stream, 6)
