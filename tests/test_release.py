"""What a release says of itself agrees: version, packages, and what the workflows try."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def listed(section: str, key: str) -> list[str]:
    return setup()[section][key].split("\n")[1:]


def workflow(name: str) -> dict[str, Any]:
    text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_the_version_is_one():
    version = setup()["metadata"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert citation["version"] == version
    assert version in headings[:2], "the changelog has its section"
    assert citation["license"] == setup()["metadata"]["license"]


def test_every_package_is_in_the_wheel():
    inside = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "clbench").rglob("__init__.py")
    }
    beside = {f"clbench.{name}" for name in ("scenarios", "strategies", "leaderboards")}
    assert set(listed("options", "packages")) >= inside | beside
    assert setup()["options.package_data"]["clbench.report"] == "assets/*"


def test_the_workflow_tries_the_oldest_that_is_promised():
    matrix = workflow("test")["jobs"]["tests"]["strategy"]["matrix"]
    oldest, newest = matrix["include"]
    [torch] = [line for line in listed("options", "install_requires") if line.startswith("torch")]
    assert oldest["torch"] == torch.removeprefix("torch>=") + ".*"
    assert newest["torch"] == "newest"
    assert setup()["options"]["python_requires"] == f">={oldest['python']}"
    named = re.findall(r"Python :: (3\.\d+)", setup()["metadata"]["classifiers"])
    assert (named[0], named[-1]) == (oldest["python"], newest["python"])
    assert {name.partition("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}


def test_only_the_last_job_of_publishing_may_publish():
    flow = workflow("publish")
    assert flow["permissions"] == {"contents": "read"}
    assert flow["jobs"]["publish"]["permissions"] == {"id-token": "write"}
    assert "permissions" not in flow["jobs"]["build"]
    assert "password" not in str(flow)
