"""Ray: by address, else workers on this machine. A job is a command that a Ray worker starts."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from clbench.errors import UsageError
from clbench.sweeps.command import run_command, sees
from clbench.sweeps.engine import Job, Needs, command, environment, python
from clbench.sweeps.home import Home
from clbench.util.optional import require

NAMESPACE = "clbench"
STORE_BYTES = 80 << 20
"""Of the object store of a local cluster; jobs put nothing there."""
LOSSES = 2
"""How often a job whose worker or machine is lost is started again."""


class Ray:
    """Hands commands to Ray. By address they outlive this process; else it must stay."""

    def __init__(self, address: str) -> None:
        """Choose a cluster: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``; empty: a local one."""
        self.address = address
        self.stays = not address

    def open(self) -> None:
        """Connect to a cluster, if there is an address.

        Raises:
            UsageError: ray is not installed, or nothing answers.
        """
        require("ray", "--on ray", "ray")
        if self.address:
            self._begin(address=self.address, namespace=NAMESPACE)

    def _begin(self, **how: Any) -> None:
        ray = import_module("ray")
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **how)
        except Exception as error:  # of ray or of what it stands on; there is no common base
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise UsageError(f"--on ray:{self.address}: cannot be reached ({reason[0]})") from error

    def check(self, home: Home, n_jobs: int, needs: Needs) -> None:
        """Refuse what no machine of the cluster has, and a folder that one of them does not see."""
        ray = import_module("ray")
        if not ray.is_initialized():
            slots = needs.at_once or max(1, (os.cpu_count() or 1) // needs.cpus)
            self._begin(
                num_cpus=slots * needs.cpus,
                include_dashboard=False,
                object_store_memory=STORE_BYTES,
            )
        nodes = [node for node in ray.nodes() if node["Alive"]]
        most = max(node["Resources"].get("CPU", 0) for node in nodes)
        if most < needs.threads:
            raise UsageError(
                f"--on ray: threads={needs.threads}, and no machine has more than {most:.0f}"
            )
        if needs.gpu and not any(node["Resources"].get("GPU", 0) for node in nodes):
            raise UsageError("--on ray: runs ask for device=cuda, and no machine has a GPU")
        if self.address:
            _check_sight(ray, nodes, home.plan)

    def queued(self, home: Home) -> set[int]:
        """All lines of what another process has submitted, while it is at work."""
        ray = import_module("ray")
        if not ray.is_initialized() or _keeper(ray, home) is None:
            return set()
        return {*ray.get(_keeper(ray, home).lines.remote())}

    def submit(self, home: Home, jobs: Sequence[Job], needs: Needs) -> str:
        """Give the jobs to an actor that outlives this process, and owns them."""
        ray = import_module("ray")
        calls = [
            ((job.first, job.last), [python(), *command(home, job.words, "attached", needs)],
             f"{home.logs}/ray-{job.first}.log")
            for job in jobs
        ]  # fmt: skip
        actor = ray.remote(Keeper).options(
            name=f"clbench-{home.id}", namespace=NAMESPACE, num_cpus=0, max_concurrency=4,
            lifetime="detached", get_if_exists=False,
        )  # fmt: skip
        try:
            keeper = actor.remote()
            env = environment(needs)
            ray.get(keeper.start.remote(calls, str(Path.cwd()), env, needs.cpus, needs.gpus))
        except ValueError as error:
            raise UsageError(f"--on ray: another process submits this sweep ({home.id})") from error
        return f"ray {self.address}".strip()

    def left(self, home: Home) -> int:
        """How many jobs have not ended."""
        ray = import_module("ray")
        keeper = _keeper(ray, home)
        try:
            return 0 if keeper is None else int(ray.get(keeper.left.remote()))
        except ray.exceptions.RayActorError:  # it has just ended
            return 0

    def close(self) -> None:
        """Disconnect; a local cluster ends, and its runs write their checkpoints."""
        ray = import_module("ray")
        if ray.is_initialized():
            ray.shutdown()


class Keeper:
    """An actor that owns the jobs of a sweep, and ends when the last of them has."""

    def __init__(self) -> None:
        self.refs: list[Any] = []
        self.of: list[tuple[int, int]] = []

    def start(
        self,
        calls: Sequence[tuple[tuple[int, int], list[str], str]],
        folder: str,
        env: dict[str, str],
        cpus: int,
        gpus: float,
    ) -> None:
        """Submit the jobs as tasks of one command each."""
        ray = import_module("ray")
        task = ray.remote(run_command).options(
            num_cpus=cpus, num_gpus=gpus, max_retries=LOSSES, scheduling_strategy="SPREAD"
        )
        for lines, words, log in calls:
            self.refs.append(task.remote(words, folder, env, log))
            self.of.append(lines)
        threading.Thread(target=self._end, daemon=True).start()

    def _end(self) -> None:
        ray = import_module("ray")
        ray.wait(self.refs, num_returns=len(self.refs))
        ray.kill(ray.get_runtime_context().current_actor)

    def _waiting(self) -> list[int]:
        ray = import_module("ray")
        ready, _ = ray.wait(self.refs, num_returns=len(self.refs), timeout=0)
        done = {*ready}
        return [number for number, ref in enumerate(self.refs) if ref not in done]

    def left(self) -> int:
        """How many jobs have not ended."""
        return len(self._waiting())

    def lines(self) -> list[int]:
        """The lines of the jobs that have not ended."""
        pairs = (self.of[number] for number in self._waiting())
        return [line for first, last in pairs for line in range(first, last + 1)]


def _keeper(ray: Any, home: Home) -> Any:
    """The actor of a sweep; None: it has ended, or nothing was submitted."""
    try:
        return ray.get_actor(f"clbench-{home.id}", namespace=NAMESPACE)
    except ValueError:
        return None


def _check_sight(ray: Any, nodes: Sequence[dict[str, Any]], plan: Path) -> None:
    """Let every machine look for the plan.

    Raises:
        UsageError: one does not see it, or has no clbench.
    """
    pinned = import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
    look = ray.remote(sees)
    for node in nodes:
        where = pinned(node_id=node["NodeID"], soft=False)
        name = node.get("NodeManagerHostname", node["NodeID"])
        try:
            there = ray.get(
                look.options(num_cpus=0, scheduling_strategy=where).remote(str(plan)), timeout=120
            )
        except Exception as error:  # whatever a machine without clbench raises
            reason = str(error).strip().splitlines()[-1]
            raise UsageError(
                f"--on ray: clbench does not run on {name} ({reason[:200]})"
            ) from error
        if not there:
            raise UsageError(
                f"--out {plan.parents[2]}: {name} does not see it; give a folder that all share"
            )
