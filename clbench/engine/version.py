"""The version of what runs give.

A change of the engine that alters what a run gives (optimisation, harness, streams, evaluation)
raises ``RESULTS_VERSION``; nothing else does. A change of one base of strategies (``replay``,
``dark``, ``quadratic``, ``latents``) raises the ``results_version`` of that base alone.
"""

from __future__ import annotations

RESULTS_VERSION = 2


def results_versions(strategy: type) -> dict[str, int]:
    """The versions that a run of a strategy stands on: of the engine, and of each public base.

    A base is a class of ``clbench`` that declares ``results_version``; it goes by the last part of its
    module's name, so that a file that moves renames no run.
    """
    found = {"engine": RESULTS_VERSION}
    for base in strategy.__mro__:
        module = base.__module__
        if module.startswith("clbench.") and "results_version" in vars(base):
            found[module.rpartition(".")[2]] = int(vars(base)["results_version"])
    return found
