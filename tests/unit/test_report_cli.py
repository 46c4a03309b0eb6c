"""``bayescale report``: what it prints, what it writes, and with which status it leaves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.cli import main as cli
from tests.report_fakes import HOSTILE, Page, hostile_fit, made_backtest

Run = Callable[..., tuple[int, str, str]]
ASKED = ("report", "fit.nc", "--target", "loss<=2.1", "--at", "params=3e10,family=Llama")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved fit."""
    return bs.save(hostile_fit(), tmp_path_factory.mktemp("saved") / "fit.nc")


@pytest.fixture
def run(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in a folder that holds a fit; status, standard output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("bayescale.report.figures.drawn", lambda *_: "<svg/>")  # which takes most of the time
    shutil.copy(saved, "fit.nc")

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main(list(words))
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return call


def test_a_page_about_what_the_outcomes_are_worth(run: Run) -> None:
    status, out, err = run(*ASKED, "--value", "5", "--cost", "1", "--unit", "USD")
    assert status == 0, err
    assert "expected utility of GO less that of NO_GO" in out
    assert "GO from 20 %" in Page(Path("report.html").read_text(encoding="utf-8")).text


def test_a_page_is_written_whatever_the_verdict(run: Run) -> None:
    for target, verdict in (("loss<=2.1", "GO"), ("loss<=1.7", "NO_GO")):
        status, out, err = run(*ASKED[:3], target, *ASKED[4:], "-o", "page.html", "--title", "Shall we?")
        assert status == 0, err
        assert out.startswith(f"{verdict}  P(loss <= {target[6:]})") and out.endswith(
            "saved in page.html: open it in a browser\n"
        )
        page = Page(Path("page.html").read_text(encoding="utf-8"))
        assert verdict.replace("_", " ") in page.all("title")[0].text
        assert page.all("h1")[0].text == "Shall we?"
        assert "fit saved" in page.text


def test_json_names_the_file_and_the_verdict(run: Run) -> None:
    status, out, _ = run(*ASKED, "--json")
    found = json.loads(out)
    assert status == 0
    assert (found["file"], found["verdict"], Path("report.html").is_file()) == ("report.html", "GO", True)
    assert len(found["forecast"]) == 1 and found["flips"]


def test_backtest_candidates_and_crossover_are_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []

    def backtest(model: bs.ScalingModel, data: object, **settings: object) -> bs.Backtest:
        asked.append(settings)
        return made_backtest(model)

    monkeypatch.setattr(bs, "backtest", backtest)
    pd.DataFrame({"params": np.geomspace(1e10, 4e10, 3), "family": HOSTILE, "cost": [1.0, 2.0, 4.0]}).to_csv(
        "pilots.csv", index=False
    )
    words = (
        "--backtest",
        "2",
        "--candidate",
        "pilots.csv",
        "--budget",
        "4",
        "--a",
        "family=Llama",
        "--b",
        "family=Pythia $a$ & co",
    )
    status, _, err = run(*ASKED, *words)
    assert status == 0, err
    assert asked == [{"along": "params", "cutoffs": 2, "seed": 0}]
    page = Page(Path("report.html").read_text(encoding="utf-8"))
    assert "Not assessed" not in page.text
    assert [e.text for e in page.all("h2")].count("Crossover") == 1
    assert "Runs worth paying for, best first" in page.text


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("report", "fit.nc", "--at", "params=3e10"), 2, "say what must be met"),
        (("report", "fit.nc", "--target", "loss<=2"), 2, "say which run"),
        ((*ASKED, "--candidate", "pilots.csv"), 2, "go together"),
        ((*ASKED, "--a", "family=Llama"), 2, "both --a and --b"),
        ((*ASKED, "-o", "."), 1, "it is a folder. Name a file in it, e.g. report.html"),
        ((*ASKED, "-o", "none/report.html"), 1, "there is no folder none"),
        (("report", "none.nc", *ASKED[2:]), 1, "there is no file none.nc"),
        ((*ASKED[:3], "loss=2", *ASKED[4:]), 1, "a target is"),
    ],
)
def test_an_error_is_said_before_the_work(run: Run, words: tuple[str, ...], status: int, said: str) -> None:
    left, out, err = run(*words)
    assert (left, out) == (status, ""), err
    assert said in " ".join(err.replace("│", " ").split())
    assert not Path("report.html").exists()
