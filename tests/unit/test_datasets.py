"""The bundled tables, from a checkout and from a wheel; the list of tables; the recommended rows."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale.core.errors import DataError, SpecError
from bayescale.data import bundled
from bayescale.data.datasets import DATASETS, list_datasets, load_dataset
from bayescale.data.recipes import RECIPES
from bayescale.data.runs import Runs

ROOT = Path(__file__).parents[2]
BUNDLED = ["pretraining_losses", "benchmark_accuracy", "emergent_tasks", "published_laws"]


@pytest.fixture(scope="module")
def losses() -> pd.DataFrame:
    return load_dataset("pretraining_losses", runs=True)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_table_is_whole(name: str) -> None:
    table = load_dataset(name)
    assert len(table) == DATASETS[name].rows
    assert table["source"].notna().all()
    assert np.isfinite(table["value"]).all()


@pytest.mark.parametrize("name", BUNDLED)
def test_each_bundled_table_has_its_part_of_the_readme(name: str) -> None:
    readme = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    assert f"`{name}.csv`" in readme
    missing = [column for column in load_dataset(name) if f"`{column}`" not in readme]
    assert not missing


def test_the_bundled_tables_are_those_of_the_folder() -> None:
    assert sorted(path.stem for path in (ROOT / "data").glob("*.csv")) == sorted(BUNDLED)


def test_they_are_found_beside_the_package_in_a_checkout() -> None:
    assert Path(str(bundled.bundled_file("published_laws"))) == ROOT / "data" / "published_laws.csv"


def test_they_are_found_inside_the_package_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_bundled").mkdir()
    (tmp_path / "_bundled" / "published_laws.csv").write_text("law\nmine\n", encoding="utf-8")
    monkeypatch.setattr(bundled, "files", lambda package: tmp_path)
    assert bundled.read_bundled("published_laws")["law"].tolist() == ["mine"]


def test_a_broken_installation_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "files", lambda package: tmp_path)
    monkeypatch.setattr(bundled, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    with pytest.raises(DataError, match=r"'published_laws' is missing: neither .* nor .* is there. Install bayescale again"):
        bundled.read_bundled("published_laws")


def test_they_are_found_in_a_wheel(tmp_path: Path) -> None:
    for needed in ("pyproject.toml", "README.md", "LICENSE"):
        if not (ROOT / needed).is_file():
            pytest.skip(f"there is no {needed} to build a wheel with")
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        f"import sys, json; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "import bayescale; from bayescale.data.datasets import load_dataset, list_datasets\n"
        f"rows = {{name: len(load_dataset(name)) for name in {BUNDLED!r}}}\n"
        "print(json.dumps([bayescale.__file__, rows, list_datasets().loc['chinchilla', 'licence']]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    file, rows, licence = json.loads(done.stdout)
    assert Path(file).is_relative_to(tmp_path / "site")
    assert rows == {name: DATASETS[name].rows for name in BUNDLED}
    assert licence == "none stated"  # the registry of pins is in the wheel too


def test_the_list_says_what_there_is() -> None:
    listed = list_datasets()
    assert listed["name"].tolist() == listed.index.tolist() == list(DATASETS)
    assert set(BUNDLED) == set(listed.query("where == 'bundled'")["name"])
    remote = listed.query("where == 'remote'")
    assert len(remote) == 10
    assert (remote["licence"] != "").all()
    assert remote["citation"].str.contains("arXiv:").all()
    assert listed[["row_is", "licence", "citation", "units"]].ne("").all(axis=None)
    assert set(listed.query("runs")["name"]) == set(RECIPES)


def test_an_unknown_name_suggests_the_near_one() -> None:
    with pytest.raises(SpecError, match=r"unknown dataset 'chinchila'\. Did you mean 'chinchilla'\?"):
        load_dataset("chinchila")


@pytest.mark.parametrize("name", sorted(set(DATASETS) - set(RECIPES)))
def test_a_table_that_is_not_of_runs_says_so(name: str) -> None:
    with pytest.raises(SpecError, match=rf"'{name}' is no table of training runs .* Tables of runs: .*chinchilla"):
        load_dataset(name, runs=True)


def test_the_recommended_losses_are_in_our_names(losses: pd.DataFrame) -> None:
    columns = ["family", "architecture", "model", "params", "tokens", "loss", "dataset", "tokenizer", "source", "text"]
    assert list(losses) == columns
    assert losses["family"].nunique() >= 15
    assert losses["loss"].between(0.4, 6.5).all()
    assert losses.index.tolist() == list(range(len(losses)))


def test_perplexities_become_nats(losses: pd.DataFrame) -> None:
    raw = load_dataset("pretraining_losses").query("model == 'Mamba-2 2.7B' and metric == 'perplexity'")
    assert len(raw) > 1
    got = losses.query("model == 'Mamba-2 2.7B'")
    np.testing.assert_allclose(np.sort(got["loss"]), np.sort(np.log(raw["value"])))


def test_suspect_rows_are_left_out(losses: pd.DataFrame) -> None:
    assert not losses["family"].eq("Cerebras-GPT (model card)").any()
    assert not losses["model"].eq("Pythia-deduped 1.4B").any()
    assert losses["family"].eq("Pythia-deduped").sum() == 7
    assert not np.isclose(losses["loss"], np.log(29.64)).any()
    kept = losses.query("model == 'Pythia 160M'")
    assert set(kept["dataset"]) == {"Pile test", "LAMBADA (OpenAI)"}


def test_every_family_has_three_sizes_on_a_text(losses: pd.DataFrame) -> None:
    assert losses.groupby(["text", "family"])["params"].nunique().min() == 3


def test_a_text_is_a_data_set_a_tokenizer_and_a_source(losses: pd.DataFrame) -> None:
    parts = losses[["dataset", "tokenizer", "source", "text"]].drop_duplicates()
    assert parts["text"].is_unique
    assert not parts[["dataset", "tokenizer", "source"]].duplicated().any()
    assert all(text.startswith(dataset) for text, dataset in zip(parts["text"], parts["dataset"], strict=True))
    assert parts["text"].str.len().max() < 60
    assert "PALOMA C4" in set(parts["text"])


def test_the_recommended_losses_are_runs_without_a_fault(losses: pd.DataFrame) -> None:
    runs = Runs.from_frame(losses, groups=["architecture", "family", "text"])
    assert len(runs) == len(losses)
    assert runs.covariates == ("params",)
    assert any(note.startswith("tokens left out: not known for family") for note in runs.notes)
