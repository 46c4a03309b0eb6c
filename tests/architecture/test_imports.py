"""What importing bayescale costs and changes."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

#: Loaded at the first use of a name that needs them.
HEAVY = ("arviz", "arviz_base", "arviz_stats", "jax", "matplotlib", "numpy", "numpyro", "pandas", "pandera", "scipy", "xarray")
IMPORT_LIMIT_S = 0.3


def python(code: str, folder: Path) -> str:
    """Output of a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_bayescale_is_quick_and_loads_nothing_heavy(root: Path) -> None:
    # Seconds of the processor: other tests run beside this one.
    code = (
        "import json, sys, time\n"
        "began = time.process_time()\n"
        "import bayescale\n"
        "print(json.dumps([time.process_time() - began, sorted(sys.modules)]))"
    )
    runs = [json.loads(python(code, root)) for _ in range(3)]
    assert not set(runs[0][1]) & set(HEAVY)
    assert min(seconds for seconds, _ in runs) < IMPORT_LIMIT_S


def test_importing_every_module_changes_no_setting_of_jax(root: Path) -> None:
    modules = [
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((root / "bayescale").rglob("*.py"))
        if path.name != "__main__.py"
    ]
    code = (
        "import importlib, jax, numpyro\n"
        "before = dict(jax.config.values)\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print({k: (before[k], v) for k, v in jax.config.values.items() if k in before and before[k] != v})"
    )
    assert python(code, root).strip() == "{}"


def test_no_module_takes_a_public_name_from_the_root(root: Path) -> None:
    """The root knows every layer, so an import from it would go up unseen; only the command line, which is on top, may."""
    packages = {path.parent.name for path in (root / "bayescale").glob("*/__init__.py")}
    taken = []
    for path in (root / "bayescale").glob("*/**/*.py"):
        if "cli" in path.relative_to(root).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "bayescale" and not node.level:
                names = {alias.name for alias in node.names} - packages - {"__version__"}
            elif isinstance(node, ast.Import):
                names = {alias.name for alias in node.names if alias.name == "bayescale"}
            else:
                continue
            taken += [f"{path.relative_to(root)}:{node.lineno}: {name}" for name in sorted(names)]
    assert not taken
