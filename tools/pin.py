"""Write constraints.txt: the exact version of everything that any extra needs.

``make pins`` resolves anew; ``make pins KEEP=1`` keeps the versions that constraints.txt names and adds what is missing.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "constraints.txt"
EXTRAS = "dev,docs,notebooks,bench"
HEADER = """\
# The versions at which bayescale is tested: everything that it and its extras ({extras}) need.
# Made by `make pins` (tools/pin.py); valid for Python 3.12 and 3.13. Edit pyproject.toml, not this file.
"""


def resolve(keep: bool) -> dict[str, str]:
    """Ask pip what it would install into an empty environment."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        ask = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--report", str(report)]
        constraint = ["-c", str(FILE)] if keep else []
        subprocess.run([*ask, *constraint, f"{ROOT}[{EXTRAS}]"], check=True)
        items = json.loads(report.read_text())["install"]
    found = {re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(): item["metadata"]["version"] for item in items}
    return {name: version for name, version in found.items() if name != "bayescale"}


def main() -> None:
    """Resolve and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the versions that are pinned now")
    pins = resolve(parser.parse_args().keep)
    FILE.write_text(HEADER.format(extras=EXTRAS) + "".join(f"{name}=={pins[name]}\n" for name in sorted(pins)))
    print(f"{FILE.name}: {len(pins)} packages")


if __name__ == "__main__":
    main()
