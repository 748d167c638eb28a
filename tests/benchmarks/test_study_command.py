"""``python -m benchmarks.study latent``: its page, its exit codes and its one-line errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.study.__main__ import main

Capture = pytest.CaptureFixture[str]


def study(capsys: Capture, *given: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the study's command line."""
    capsys.readouterr()
    try:
        code = main([str(word) for word in given])
    except SystemExit as error:
        code = int(error.code or 0)
    return (code, *capsys.readouterr())


pytestmark = pytest.mark.usefixtures("quick")


PRESSED = '''"""A strategy during which somebody presses Ctrl-C."""
from __future__ import annotations
import signal
from clbench.strategy import GradientStrategy

class Pressed(GradientStrategy):
    def begin(self, task):
        signal.raise_signal(signal.SIGINT)
        return task
'''


def words(npz: Path, out: Path) -> list[str | Path]:
    data = ["data=npz", f"data.path={npz}", "encoder=identity", "device=cpu"]
    return ["latent", *data, "--out", out]


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from small import write_npz

    return write_npz(tmp_path_factory.mktemp("data") / "five.npz", n_classes=5)


def test_a_page_a_figure_and_nothing_twice(capsys: Capture, five: Path, tmp_path: Path):
    line = [*words(five, tmp_path / "runs"), "strategy=nmc", "seed=0,1"]
    code, said, talk = study(capsys, *line)
    assert (code, said) == (0, f"{tmp_path / 'runs' / 'latent.md'}\n")
    assert talk.count("completed, world accuracy") == 2
    assert (tmp_path / "runs" / "latent.png").exists()
    code, _, talk = study(capsys, *line, "--page", tmp_path / "docs" / "mine.md")
    assert code == 0
    assert talk.count("already done") == 2
    page = (tmp_path / "docs" / "mine.md").read_text()
    assert "(mine.png)" in page
    assert str(five.parent) not in page
    assert str(tmp_path) not in page
    assert study(capsys, *line, "-q")[2] == ""


def test_dry_run_trains_nothing(capsys: Capture, five: Path, tmp_path: Path):
    line = [*words(five, tmp_path / "runs"), "strategy=nmc,naive", "seed=0", "--dry-run"]
    code, said, _ = study(capsys, *line)
    assert code == 0
    assert said.count("to run") == 2
    assert not (tmp_path / "runs").exists()


def test_failed_runs_make_the_exit_code_1(capsys: Capture, five: Path, tmp_path: Path):
    fails = ["strategy=naive", "naive.lr=1e30", "naive.clip_norm=null", "seed=0"]
    code, said, talk = study(capsys, *words(five, tmp_path / "runs"), *fails)
    assert code == 1
    assert "diverged" in talk
    assert "diverged" in Path(said.strip()).read_text()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["scenario=scole"], "scenario"),
        (["strategy=nowhere"], "unknown strategy"),
        (["--jobs", "0"], "--jobs 0"),
        (["--page", "x.txt"], "--page x.txt"),
        (["scenario.shots=100", "strategy=nmc"], "scenario.shots=100"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(
    capsys: Capture, five: Path, tmp_path: Path, more: list[str], said: str
):
    code, out, err = study(capsys, *words(five, tmp_path / "runs"), "-q", *more)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert said in err


def test_an_interrupted_study_writes_no_page(capsys: Capture, five: Path, tmp_path: Path):
    pressed = tmp_path / "pressed.py"
    pressed.write_text(PRESSED)
    line = [*words(five, tmp_path / "runs"), f"strategy={pressed},nmc", "seed=0"]
    code, said, talk = study(capsys, *line)
    assert (code, said) == (130, "")
    assert "interrupted" in talk
    assert not (tmp_path / "runs" / "latent.md").exists()


def test_there_is_one_study(capsys: Capture):
    assert study(capsys, "nothing")[0] == 2
