"""What a user installs: the tables come along, and are found from the wheel as from a checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import bayescale

TABLES = ("pretraining_losses.csv", "emergent_tasks.csv", "benchmark_accuracy.csv", "published_laws.csv")


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(build, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_has_the_code_its_types_its_tables_and_its_licence(wheel: Path) -> None:
    assert wheel.name == f"bayescale-{bayescale.__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"bayescale-{bayescale.__version__}.dist-info"
    expected = {"bayescale/py.typed", f"{info}/licenses/LICENSE", *(f"bayescale/_bundled/{table}" for table in TABLES)}
    expected |= {f"bayescale/report/templates/{name}" for name in ("page.html", "style.css")}
    assert expected <= names
    assert not {name.split("/")[0] for name in names} - {"bayescale", info}


@pytest.mark.parametrize("source", ["wheel", "checkout"])
def test_a_bundled_table_is_found(source: str, wheel: Path, root: Path, tmp_path: Path) -> None:
    where = root
    if source == "wheel":
        where = tmp_path / "site"
        zipfile.ZipFile(wheel).extractall(where)
    code = (
        f"import sys; sys.path.insert(0, {str(where)!r})\n"
        "import bayescale; print(bayescale.__file__); print(len(bayescale.load_dataset('pretraining_losses')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    file, rows = done.stdout.splitlines()
    assert Path(file).is_relative_to(where)
    assert int(rows) > 100
