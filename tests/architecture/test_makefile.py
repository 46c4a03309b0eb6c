"""Which Python ``make`` takes, what it says when there is none, and that a second call installs nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKE = shutil.which("make")
SHELL = "/bin/sh"

#: Interpreters that answer the questions of tools/make-venv; `installs` also makes an environment and logs pip's arguments.
GOOD = "exit 0"
OLD = 'case "$2" in *version_info*) exit 1;; esac'
SHIM = 'echo "pyenv: $0: command not found" >&2; exit 127'
NO_VENV = 'case "$2" in *ensurepip*) echo "No module named ensurepip" >&2; exit 1;; esac'
INSTALLS = """case "$1 $2" in
"-m venv") mkdir -p "$3/bin"; : >"$3/pyvenv.cfg"; cp "$0" "$3/bin/python" ;;
"-m pip") echo "$@" >>pip.log ;;
esac"""

pytestmark = pytest.mark.skipif(not Path(SHELL).exists(), reason=f"there is no {SHELL} here")


def command(folder: Path, name: str, body: str) -> Path:
    """A command made of a few lines of shell."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!{SHELL}\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def tree(root: Path, tmp_path: Path) -> Path:
    """A copy of what an installation reads."""
    copy = tmp_path / "a tree"
    (copy / "tools").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "tools/make-venv"):
        shutil.copy(root / name, copy / name)
    return copy


def run(tree: Path, *arguments: str, path: str) -> subprocess.CompletedProcess[str]:
    """Run a command with that PATH and nothing else of this environment."""
    return subprocess.run(arguments, cwd=tree, capture_output=True, text=True, env={"PATH": path})


def which(tree: Path, *folders: Path) -> subprocess.CompletedProcess[str]:
    return run(tree, SHELL, "tools/make-venv", "--which", path=os.pathsep.join(map(str, folders)))


@pytest.mark.parametrize(
    ("present", "taken"),
    [
        ({"python3.13": GOOD, "python3.12": GOOD, "python3": GOOD}, "python3.13"),
        ({"python3.12": GOOD, "python3": OLD}, "python3.12"),
        ({"python3.13": SHIM, "python3.12": GOOD, "python3": OLD}, "python3.12"),
        ({"python3.13": SHIM, "python3.12": SHIM, "python3": GOOD}, "python3"),
        ({"python3.13": NO_VENV, "python3.12": GOOD}, "python3.12"),
    ],
)
def test_the_first_that_runs_and_is_new_enough_is_taken(tree: Path, present: dict[str, str], taken: str) -> None:
    fakes = tree / "fakes"
    for name, body in present.items():
        command(fakes, name, body)
    assert which(tree, fakes).stdout == f"{fakes / taken}\n"


def test_an_old_python3_does_not_hide_a_newer_one_behind_it(tree: Path) -> None:
    command(tree / "first", "python3", OLD)
    newer = command(tree / "second", "python3", GOOD)
    assert which(tree, tree / "first", tree / "second").stdout == f"{newer}\n"


def test_uv_is_enough(tree: Path) -> None:
    command(tree / "fakes", "uv", GOOD)
    assert which(tree, tree / "fakes").stdout == "uv\n"


@pytest.mark.parametrize("present", [{}, {"python3": OLD}, {"python3.13": SHIM, "python3": OLD, "uv": SHIM}])
def test_with_none_there_is_one_sentence(tree: Path, present: dict[str, str]) -> None:
    (tree / "fakes").mkdir()
    for name, body in present.items():
        command(tree / "fakes", name, body)
    done = which(tree, tree / "fakes")
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.startswith("bayescale: no Python 3.12 or newer was found")
    assert done.stderr.count("\n") == 1


def test_a_python_that_cannot_make_environments_is_named_with_the_remedy(tree: Path) -> None:
    command(tree / "fakes", "python3.13", NO_VENV)
    done = which(tree, tree / "fakes")
    assert done.returncode != 0
    assert "python3.13 cannot make virtual environments" in done.stderr
    assert "apt install python3-venv" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_chosen_python_that_is_too_old_is_refused(tree: Path) -> None:
    old = command(tree / "fakes", "mine", OLD)
    env = {"PATH": str(tree / "fakes"), "PYTHON": str(old)}
    done = subprocess.run([SHELL, "tools/make-venv", "--which"], cwd=tree, capture_output=True, text=True, env=env)
    assert done.returncode != 0
    assert "older than Python 3.12" in done.stderr


@pytest.mark.skipif(MAKE is None, reason="make is not installed")
@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_says_so_without_a_traceback(tree: Path, target: str) -> None:
    assert MAKE is not None
    (tree / "fakes").mkdir()
    done = run(tree, MAKE, target, path=str(tree / "fakes"))
    assert done.returncode != 0
    assert "no Python 3.12 or newer was found" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tree / ".venv").exists()


@pytest.mark.skipif(MAKE is None, reason="make is not installed")
def test_a_second_call_installs_nothing_until_the_pins_change(tree: Path) -> None:
    assert MAKE is not None
    command(tree / "fakes", "python3.13", INSTALLS)
    path = f"{tree / 'fakes'}{os.pathsep}{os.defpath}"
    log = tree / "pip.log"

    def installs(target: str) -> int:
        done = run(tree, MAKE, f".venv/.installed-{target}", path=path)
        assert done.returncode == 0, done.stderr
        return log.read_text().count("install")

    first = installs("dev")
    assert first == 1
    assert "--constraint constraints.txt --editable .[dev]" in log.read_text()
    assert installs("dev") == first
    assert installs("base") == first, "the developers' set holds what the demo needs"
    later = (tree / ".venv/.installed-dev").stat().st_mtime + 2
    os.utime(tree / "constraints.txt", (later, later))
    assert installs("dev") == first + 1


@pytest.mark.skipif(MAKE is None, reason="make is not installed")
def test_a_folder_that_is_no_environment_is_not_touched(tree: Path) -> None:
    assert MAKE is not None
    command(tree / "fakes", "python3.13", INSTALLS)
    (tree / ".venv").mkdir()
    (tree / ".venv" / "mine").write_text("kept")
    done = run(tree, MAKE, ".venv/.installed-base", path=f"{tree / 'fakes'}{os.pathsep}{os.defpath}")
    assert done.returncode != 0
    assert "is no virtual environment" in done.stderr
    assert (tree / ".venv" / "mine").read_text() == "kept"
