"""Prints strategy, reference and the largest relative difference as Markdown."""

from __future__ import annotations

import sys

from .cases import all_cases, measure
from .further import further_cases


def main() -> None:
    write = sys.stdout.write
    write("| strategy | reference | streams | largest relative difference |\n")
    write("|---|---|---|---|\n")
    for case in [*all_cases(), *further_cases()]:
        try:
            worst = f"{max(measure(case, stream).largest for stream in case.streams):.0e}"
        except Exception as error:  # the table says which could not be compared
            worst = (str(error) or type(error).__name__).splitlines()[0]
        streams = ", ".join(case.streams)
        write(f"| {case.name} | {case.reference} | {streams} | {worst} |\n")


if __name__ == "__main__":
    main()
