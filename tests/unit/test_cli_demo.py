"""The main job with fake draws: what it prints, saves and promises; its real run is a command of the Makefile."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest

import bayescale as bs
from bayescale.cli import demo_job as job
from bayescale.cli import main as cli
from tests.fakes import fake_fit


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a mirror nor a cache of remote tables."""
    monkeypatch.delenv("BAYESCALE_MIRROR", raising=False)
    monkeypatch.setenv("BAYESCALE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def no_sampling(monkeypatch: pytest.MonkeyPatch) -> list[bs.Fit]:
    fits: list[bs.Fit] = []

    def fit(model: bs.ScalingModel, data: Any, **settings: Any) -> bs.Fit:
        fits.append(fake_fit(model, data, draws=100))
        return fits[-1]

    monkeypatch.setattr(bs, "fit", fit)
    return fits


def demo(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main(["demo", *words])
    return int(left.value.code or 0)


def test_the_runs_of_the_demo_are_those_of_the_issue() -> None:
    seen, held = job.demo_runs()
    assert seen["family"].nunique() >= 15
    largest = seen.groupby("curve")["params"].max()
    assert set(held["curve"]) == set(largest.index)
    assert (held.set_index("curve")["params"] > largest).all()
    assert len(held) == held["curve"].nunique()
    model = job.demo_model()
    assert model.pooling_of("E") == bs.NoPooling(("dataset", "tokenizer", "source"))
    assert model.pooling_of("alpha") == bs.PartialPooling(("architecture", "family"))


@pytest.mark.usefixtures("offline")
def test_the_demo_prints_its_answers_and_saves_its_files(
    no_sampling: list[bs.Fit], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo("-o", str(tmp_path / "out")) == 0
    out = capsys.readouterr().out
    (fitted,) = no_sampling
    _, held = job.demo_runs()
    inside = (job.held_back_table(fitted, held, prob=0.9, seed=0)["inside"] == "yes").sum()
    assert f"{inside} of {len(held)} intervals of 90% cover the published value" in out
    for model in held["model"]:
        assert model in out
    for words in ("a new family", "P(never)", "P(the curves never cross)", "not identified", "skipped", "Seconds: "):
        assert words in out
    assert re.search(r"^(GO|NO_GO|HOLD)  P\(loss ?<= ?2.25\) = [01](\.\d+)? ± ", out, flags=re.MULTILINE)
    pictures = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert pictures == ["crossover.png", "curves.png", "decision.png", "exponents.png"]
    for name in pictures:
        assert matplotlib.image.imread(tmp_path / "out" / name).std() > 0.01, f"{name} is blank"
    assert bs.load(tmp_path / "out" / "fit.nc").model == job.demo_model()


@pytest.mark.usefixtures("offline", "no_sampling")
def test_the_demo_speaks_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo("-o", str(tmp_path / "out"), "--quick", "--seed", "3", "--json") == 0
    found = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(word))
    assert found["seed"] == 3
    assert found["covered"]["of"] == len(found["held_back"]) == 9
    assert found["decision"]["verdict"] in ("GO", "NO_GO", "HOLD")
    assert found["seconds"]["all"] == pytest.approx(sum(v for k, v in found["seconds"].items() if k != "all"))
    assert all(Path(file).is_file() for file in found["files"])


def test_a_folder_that_cannot_be_written_is_told_before_the_work(
    no_sampling: list[bs.Fit], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert demo("-o", str(tmp_path / "file" / "out")) == 1
    assert "cannot be made" in capsys.readouterr().err
    assert not no_sampling
    assert (tmp_path / "file").read_text() == "mine"


def test_draws_that_do_not_agree_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(model: bs.ScalingModel, data: Any, **settings: Any) -> bs.Fit:
        raise bs.ConvergenceError("the chains do not agree", fake_fit(model, data))

    monkeypatch.setattr(bs, "fit", fit)
    assert demo("-o", str(tmp_path / "out"), "--quick") == 1
    assert "fit.unconverged.nc" in capsys.readouterr().err
    assert bs.load(tmp_path / "out" / "fit.unconverged.nc").model == job.demo_model()


def test_chinchilla_is_read_where_it_is(mirror: Path) -> None:
    runs = job.chinchilla_runs()
    assert runs is not None
    assert len(runs) == 240
