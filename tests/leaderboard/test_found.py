"""What was found of an entry: what ends it, and who is ranked by it."""

from __future__ import annotations

import dataclasses
import hashlib
import signal
from pathlib import Path
from typing import Any

import pytest
from forging import replace_source
from synthetic import ledger_of
from tiny import edit

from clbench.cli import main
from clbench.configure.board import Board
from clbench.configure.config import resolve
from clbench.data.dataset import DataSet
from clbench.errors import UsageError
from clbench.leaderboard import stability
from clbench.leaderboard.entry import Entry, ledger_file, load_entry
from clbench.leaderboard.reproduce.files import files_of
from clbench.leaderboard.reproduce.processes import Zygote
from clbench.leaderboard.reproduce.remote import RemoteStrategy
from clbench.leaderboard.reproduce.rerun import Rerun, compare, point_of, rerun
from clbench.leaderboard.reproduce.verify import Verifier
from clbench.leaderboard.rules.validate import validate
from clbench.leaderboard.verification import (
    is_current,
    is_ranked,
    tier,
    verified_records,
    verified_runs,
    write_verification,
)
from clbench.stream import TaskData


def _verified(board: Board, naive: Path) -> Entry:
    entry = load_entry(naive)
    write_verification(entry, ledger_of(board, entry))
    entry = load_entry(naive)
    assert is_ranked(board, entry)
    return entry


@pytest.mark.parametrize("part", ["answers", "counts", "cost", "metrics", "sources"])
def test_an_edited_record_ends_what_was_found_of_its_seed(
    board: Board, naive: Path, part: str
) -> None:
    _verified(board, naive)

    def change(data: dict[str, Any]) -> None:
        if part == "answers":
            data["predictions_sha256"] = "0" * 64
        elif part == "counts":
            data["counts"]["correct"][-1][0] -= 1
        elif part == "cost":
            data["cost"]["train_flops"] -= 1
        elif part == "metrics":
            data["metrics"]["world_accuracy"]["value"] = 1.0
        else:
            data["sources"]["strategy"] = "0" * 64

    edit(naive / "runs" / "seed0.json", change)
    entry = load_entry(naive)
    assert [*verified_runs(board, entry)] == [1, 2, 3, 4]
    assert not is_ranked(board, entry)
    assert not is_current(board, entry)
    assert any(f.file == "verified/naive.json" for f in validate(board, entry))


def test_another_source_or_board_ends_all_that_was_found(board: Board, naive: Path) -> None:
    entry = _verified(board, naive)
    other = dataclasses.replace(board, sha256="0" * 64)
    assert verified_runs(other, entry) == {}
    entry.source.write_text(entry.source.read_text() + "\n")
    assert verified_runs(board, load_entry(naive)) == {}


def test_without_fresh_data_there_is_no_tier(board: Board, naive: Path) -> None:
    entry = load_entry(naive)
    for held_out in (None, {**(ledger_of(board, entry).held_out or {}), "passed": False}):
        write_verification(entry, ledger_of(board, entry, held_out=held_out))
        assert tier(board, load_entry(naive)) is None
        ledger_file(naive).unlink()


def test_other_answers_elsewhere_are_ranked_by_the_verifiers(board: Board, naive: Path) -> None:
    entry = load_entry(naive)
    found = ledger_of(board, entry, equal=False)
    record = entry.records[0]
    zero = {**record.counts, "correct": [[0] * len(r) for r in record.counts["correct"]]}
    wrong = dataclasses.replace(record, counts=zero, answers=None)
    run = dataclasses.replace(found.seeds["0"], record=wrong.to_dict())
    write_verification(entry, dataclasses.replace(found, seeds={**found.seeds, "0": run}))
    entry = load_entry(naive)
    assert tier(board, entry) == ("re-run", 5)
    assert verified_records(board, entry)[0].counts == zero
    assert entry.records[0].counts != zero


@pytest.mark.slow
def test_an_entry_is_run_perturbed(scaled: Board, naive: Path, zygote: Zygote) -> None:
    moved = []
    with Verifier(scaled, perturbed=2, zygote=zygote) as verifier:
        again = verifier._rerun

        def note(point: dict[str, Any], **how: Any) -> Rerun:
            moved.append((point["seed"], point.get("strategy.lr"), how.get("threads")))
            return again(point, **how)

        verifier._rerun = note  # type: ignore[method-assign]
        found = verifier.verify(load_entry(naive), [0, 1, 2]).found
    assert found is not None
    assert found.stability is not None
    assert {m for m in moved if m[2]} == {(0, None, 2), (1, None, 2)}
    assert {m[0] for m in moved if m[1] == 0.1 * (1 + 1e-6)} == {0, 1}
    assert found.stability["unstable"] is False


def test_the_stability_of_entries_that_are_not_named_is_not_measured(
    scaled: Board, naive: Path, zygote: Zygote
) -> None:
    entry = load_entry(naive)
    with Verifier(scaled, perturbed_of=["er"], zygote=zygote) as verifier:
        assert verifier._stability(entry, {0: 0.5, 1: 0.6}, {}) is None


def test_unstable_is_a_change_of_more_than_half_the_spread() -> None:
    def run(seed: int, rate: float | None, threads: int | None) -> float:
        return 0.5 + 0.01 * seed + (0.004 if rate else 0.0)

    base = {0: 0.5, 1: 0.51, 2: 0.52}  # an sd of 0.01
    found = stability.measure(run, base, [0, 1], 0.1, 1)
    assert found.sd == pytest.approx(0.01)
    assert found.rate_rms == pytest.approx(0.004)
    assert found.threads_rms == pytest.approx(0)
    assert not found.unstable
    assert stability.judged([0], 0.006, 0.0, 0.01).unstable
    assert stability.judged([0], None, 0.006, 0.01).unstable
    assert stability.rate_of({}) is None
    assert stability.rate_of({"lr": None, "optimizer": "sgd"}) == 0.1
    assert stability.rate_of({"lr": None, "optimizer": "adam"}) == 1e-3
    assert stability.rate_of({"lr": 0.5}) == 0.5


def test_a_rate_without_effect_is_not_perturbed() -> None:
    """Kanerva solves its classifier: a rate that is set beside it is refused."""
    base = {0: 0.5, 1: 0.51}

    def run(seed: int, rate: float | None, threads: int | None) -> float:
        words = ["scenario=scole", "data=digits", "strategy=kanerva"]
        more = [] if rate is None else [f"strategy.lr={rate!r}"]
        resolve([*words, "strategy.mode=classifier", *more])
        return base[seed]

    found = stability.measure(run, base, [0, 1], 0.1, 1)
    assert (found.rate_rms, found.threads_rms, found.unstable) == (None, 0.0, False)

    def broken(seed: int, rate: float | None, threads: int | None) -> float:
        raise UsageError("strategy.lr=0.1 must be below 0")

    with pytest.raises(UsageError, match="below"):
        stability.measure(broken, base, [0, 1], 0.1, 1)


def test_a_rerun_counts_every_call(board: Board, naive: Path, zygote: Zygote) -> None:
    entry = load_entry(naive)
    found = rerun(point_of(board, entry, entry.records[0]), zygote=zygote)
    assert found.record.cost["train_flops"] == entry.records[0].cost["train_flops"]
    assert found.record.cost["state_bytes"] == entry.records[0].cost["state_bytes"]
    assert found.rebuilt
    assert found.cpu_per_operation is not None


def test_a_file_goes_to_a_process_in_the_open_division_alone(board: Board, tmp_path: Path) -> None:
    """A record names it, so it could be any file of the verifier."""
    source = tmp_path / "mine.py"
    source.write_text(
        "from dataclasses import dataclass\nfrom pathlib import Path\n"
        "from clbench import GradientStrategy\n\n"
        "class Mine(GradientStrategy):\n    @dataclass(frozen=True)\n"
        "    class Config(GradientStrategy.Config):\n        weights: Path | None = None\n"
    )
    point = {"board": str(board.folder), "division": "network", "seed": 0, "device": "cpu"}
    with pytest.raises(UsageError, match="only division=open"):
        rerun({**point, "strategy": str(source), "strategy.weights": str(source)})


TAKES_A_FILE = """
from dataclasses import dataclass
from pathlib import Path
from clbench import GradientStrategy

class Mine(GradientStrategy):
    @dataclass(frozen=True)
    class Config(GradientStrategy.Config):
        table_path: Path | None = None
        table_sha256: str | None = None
"""


@pytest.fixture
def takes_a_file(tmp_path: Path) -> Path:
    """A strategy whose settings name a file, beside a folder ``given`` and a secret."""
    (tmp_path / "mine.py").write_text(TAKES_A_FILE)
    (tmp_path / "given").mkdir()
    for path in (tmp_path / "secret", tmp_path / "given" / "table"):
        path.write_text("x")
    (tmp_path / "given" / "link").symlink_to(tmp_path / "secret")
    return tmp_path / "mine.py"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../secret", "by its name alone"),
        ("//etc/passwd", "by its name alone"),
        ("/etc/passwd", "by its name alone"),
        ("~root", "by its name alone"),
        ("..", "by its name alone"),
        ("a/b", "by its name alone"),
        ("C:secret", "by its name alone"),
        ("link", "no such file here"),
        ("none", "no such file here"),
    ],
)
def test_a_record_names_a_file_of_the_verifiers_folder(
    name: str, said: str, takes_a_file: Path
) -> None:
    sha = hashlib.sha256(b"x").hexdigest()
    given = {"table_path": name, "table_sha256": sha}
    with pytest.raises(UsageError, match=said):
        files_of(takes_a_file, given, [takes_a_file.parent / "given"], "open")


def test_a_file_is_taken_by_the_hash_that_the_record_names(takes_a_file: Path) -> None:
    folder, sha = takes_a_file.parent / "given", hashlib.sha256(b"x").hexdigest()
    given = {"table_path": "table", "table_sha256": sha}
    assert files_of(takes_a_file, given, [folder], "open") == {"table_path": str(folder / "table")}
    assert files_of(takes_a_file, {"table_path": None}, [], "open") == {}
    for wrong, said in ((None, "names no SHA-256"), ("0" * 64, "it is another file")):
        with pytest.raises(UsageError, match=said):
            files_of(takes_a_file, {**given, "table_sha256": wrong}, [folder], "open")


@pytest.mark.parametrize("text", ["x = (", "x = 1\0", "class A(A):\n    pass"])
def test_a_source_that_cannot_be_read_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UsageError, match=r"^mine\.py.*correct the source$"):
        files_of(tmp_path / "mine.py", {}, [], "open")


def test_data_are_loaded_once_for_all_seeds(
    scaled: Board, naive: Path, zygote: Zygote, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Any] = []
    load = DataSet.load

    def counted(data: Any, *given: Any) -> Any:
        loads.append(data)
        return load(data, *given)

    monkeypatch.setattr(DataSet, "load", counted)
    with Verifier(scaled, perturbed=0, zygote=zygote) as verifier:
        assert verifier.verify(load_entry(naive), [0, 1, 2]).passed
    known = len(loads)
    assert known <= 2  # the board's own, and what fresh data are made of
    with Verifier(scaled, perturbed=0, zygote=zygote) as verifier:
        assert verifier.verify(load_entry(naive), [0]).passed
    assert len(loads) == 2 * known  # so they were counted


def test_every_refusal_of_a_source_that_does_not_parse_is_told(
    scaled: Board, naive: Path, zygote: Zygote
) -> None:
    replace_source(naive, "x = (\n")
    with Verifier(scaled, perturbed=0, zygote=zygote, every=True) as verifier:
        said = verifier.verify(load_entry(naive), [0]).refusals
    assert "does not parse" in said[-1]
    assert len(said) > 1


def test_a_strategy_that_says_it_is_pretrained_belongs_into_open(board: Board, naive: Path) -> None:
    """Although its record says that it is not."""
    record = load_entry(naive).records[0]
    found = dataclasses.replace(record, declares={**record.declares, "pretrained": True})
    assert "enter division=open" in compare(board, record, found).refusal


@pytest.mark.parametrize(
    ("changed", "is_refuted"),
    [({}, True), ({"processor": "GenuineIntel 6 143"}, False), ({"processor": None}, False),
     ({"python": "3.14.0", "cores": 64}, True), ({"threads": 2}, False)],
)  # fmt: skip
def test_other_answers_refute_a_claim_of_this_platform_alone(
    board: Board, naive: Path, changed: dict[str, Any], is_refuted: bool
) -> None:
    found = load_entry(naive).records[0]
    elsewhere = {**found.environment, **changed}
    claim = dataclasses.replace(found, predictions_sha256="0" * 64, environment=elsewhere)
    assert bool(compare(board, claim, found).refusal) is is_refuted
    dear = dataclasses.replace(found, cost={**found.cost, "train_flops": 1}, environment=elsewhere)
    assert bool(compare(board, dear, found).refusal) is ("threads" not in changed)
    old = {key: value for key, value in elsewhere.items() if key != "processor"}
    assert not compare(board, dataclasses.replace(claim, environment=old), found).refusal


def test_answers_of_fewer_instructions_can_be_found_here(board: Board, naive: Path) -> None:
    found = load_entry(naive).records[0]
    few, many = ({**found.environment, "cpu_capability": n} for n in ("AVX2", "AVX512"))
    claim = dataclasses.replace(found, predictions_sha256="0" * 64, environment=few)
    found = dataclasses.replace(found, environment=many)
    assert "put ATEN_CPU_CAPABILITY=avx2 " in compare(board, claim, found).message
    alone = dataclasses.replace(claim, environment={**few, "torch": "9.9"})
    assert "put" not in compare(board, alone, found).message


def test_an_interruption_takes_nothing_back(
    board: Board, naive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _verified(board, naive)
    before = ledger_file(naive).read_bytes()
    learn = RemoteStrategy.learn

    def interrupted(strategy: RemoteStrategy, task: TaskData) -> None:
        learn(strategy, task)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(RemoteStrategy, "learn", interrupted)
    assert main(["verify", str(naive), "--seeds", "1", "--perturbed", "0"]) == 130
    assert "FAIL" not in capsys.readouterr().out
    assert ledger_file(naive).read_bytes() == before
