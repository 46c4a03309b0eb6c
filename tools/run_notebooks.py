"""Run the notebooks, and keep their output.

Where a notebook has a script of the same name beside it (``01_quickstart.py``, jupytext's percent format), the script is
its source. With ``--quick`` the kernels see ``BAYESCALE_QUICK=1`` (fewer draws, smaller tables) and nothing is written.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
#: Of one cell; the slowest fits twelve families.
TIMEOUT_S = 900


def sources(names: list[str]) -> list[Path]:
    """The notebooks asked for by name or path (all, when none is), each by its source."""
    if not FOLDER.is_dir():
        return []
    stems = sorted({path.stem for path in FOLDER.iterdir() if path.suffix in (".ipynb", ".py")})
    wanted = [Path(name).stem for name in names] or stems
    unknown = [name for name in wanted if name not in stems]
    if unknown:
        sys.exit(f"no notebook {', '.join(unknown)} in notebooks/. There are: {', '.join(stems) or '(none)'}")
    scripts = [FOLDER / f"{stem}.py" for stem in wanted]
    return [script if script.exists() else script.with_suffix(".ipynb") for script in scripts]


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Drop what changes from run to run and from machine to machine: times, progress bars, ids, the interpreter's version."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        for key in ("execution", "lines_to_next_cell"):
            cell.metadata.pop(key, None)


def run(path: Path, quick: bool) -> None:
    """Run one notebook, saying how far it is."""
    notebook = jupytext.read(path)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    began = time.perf_counter()
    done = 0

    def report(**_: object) -> None:
        nonlocal done
        done += 1
        if sys.stdout.isatty():
            print(f"\r{path.name}: cell {done} of {len(cells)}", end="", flush=True)

    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
        on_cell_start=report,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # else a line about sockets for every notebook
    )
    client.execute()
    print(f"\r{path.name}: {len(cells)} cells in {time.perf_counter() - began:.0f} s")
    if not quick:
        tidy(notebook)
        nbformat.write(notebook, path.with_suffix(".ipynb"))


def main() -> None:
    """Run the notebooks one after the other; stop at the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="notebooks to run (default: all)")
    parser.add_argument("--quick", action="store_true", help="see only whether they run")
    arguments = parser.parse_args()
    if arguments.quick:
        os.environ["BAYESCALE_QUICK"] = "1"
    for path in sources(arguments.names):
        try:
            run(path, arguments.quick)
        except CellExecutionError as error:
            sys.exit(f"\n{path.name} failed:\n{error}")


if __name__ == "__main__":
    main()
