"""The package as it is installed: a wheel, typed, without dependencies."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import List

from .conftest import SOURCE, World

PROJECT = SOURCE.parent


def python(*words: object, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def build(into: Path) -> Path:
    # What builds it is installed with the tests; the network is none of their business.
    python("-m", "build", "--no-isolation", "--wheel", "--outdir", into, PROJECT, cwd=into)
    wheels = list(into.glob("*.whl"))
    assert len(wheels) == 1
    return wheels[0]


def test_a_wheel_holds_what_it_should_and_runs(world: World, tmp_path: Path) -> None:
    wheel = build(tmp_path)
    assert wheel.name == "supervisor_client-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names: List[str] = archive.namelist()
        metadata = archive.read("supervisor_client-0.1.0.dist-info/METADATA").decode()
    assert "supervisor_client/py.typed" in names
    assert not [name for name in names if "test" in name or "__pycache__" in name]
    assert "Requires-Python: >=3.9" in metadata
    assert "Requires-Dist" not in metadata
    assert "from supervisor_client import Heartbeat" in metadata, "its README is in it"
    installed = tmp_path / "installed"
    python("-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
           "--target", installed, wheel, cwd=tmp_path)
    world.start()
    script = world.dir / "installed.py"
    script.write_text(
        "import supervisor_client as python_core\n"
        f"assert python_core.__file__.startswith({str(installed)!r})\n"
        "python_core.Heartbeat(interval=600, tag='installed').start()\n"
    )
    world.run(script, PYTHONPATH=str(installed))
    world.wait_healthy("installed")


def test_the_readme_runs(world: World) -> None:
    """Every example that stands in it, one after the other."""
    text = (PROJECT / "README.md").read_text()
    examples = [block.split("```")[0] for block in text.split("```python\n")[1:]]
    assert len(examples) >= 3
    world.start()
    for number, example in enumerate(examples):
        world.run(world.script(example, f"example_{number}.py"))
    assert world.wait_healthy("indexer")


def test_mypy_has_nothing_to_say() -> None:
    cache = PROJECT.parents[1] / "target/mypy-cache"
    said = python("-m", "mypy", "--cache-dir", cache, cwd=PROJECT)
    assert said.startswith("Success"), said
