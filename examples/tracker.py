"""Writes a line of text after each evaluation, to ``log.txt`` in the run's folder."""

from clbench import Tracker


class Log(Tracker):
    """A tracker is told how a run goes, and changes no bit of its result."""

    def start(self, run):
        """Called before the first experience, or where a run is resumed."""
        self.path = run.folder / "log.txt"
        self.path.write_text(f"{run.title}\n", encoding="utf-8")

    def progress(self, progress):
        """Called after every experience and every evaluation."""
        if progress.is_new:
            accuracy = progress.evaluation.world_accuracy
            self._write(f"{progress.experiences} experiences: world accuracy {accuracy:.1%}")

    def finish(self, record):
        """Called at the end; ``record`` is None where the run could not give one."""
        self._write("no record" if record is None else f"{record.status}")

    def _write(self, line):
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
