"""Rules for the files of the repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

MAX_LINES = 400
FOLDERS = ("bayescale", "tests", "benchmarks", "tools", "docs")
#: Not text, or another's text.
SKIPPED = {".png", ".nc", ".parquet", ".pdf", ".gz"}
# Spelt so that this file does not match itself.
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/" + r"(?:work|root|home/\w+|Users/\w+)/")
INDEX = re.compile("|".join(["index-" + "url", "find-" + "links", "python" + "hosted[.]org", "pypi[.]org/" + "simple"]))


def committed(root: Path) -> list[Path]:
    """Files that are or would be committed."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(listing, cwd=root, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout")
    paths = [root / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix not in SKIPPED]


def test_no_file_is_longer_than_a_reader_can_hold(root: Path) -> None:
    lengths = {path: len(path.read_text().splitlines()) for name in FOLDERS for path in (root / name).rglob("*.py")}
    assert lengths
    long = {str(path.relative_to(root)): count for path, count in lengths.items() if count > MAX_LINES}
    assert not long, f"longer than {MAX_LINES} lines: split by what a reader looks for"


def test_no_file_names_a_machine_or_an_index(root: Path) -> None:
    found = []
    for path in committed(root):
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if MACHINE_PATH.search(line) or INDEX.search(line):
                found.append(f"{path.relative_to(root)}:{number}")
    assert not found, "paths of one machine, or hosts of a package index, in committed files"


def test_the_pins_are_exact_and_name_no_place(root: Path) -> None:
    lines = [line for line in (root / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines
    wrong = [line for line in lines if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][\w.+!]*", line)]
    assert not wrong
