"""The command line: what it prints, for readers and machines, and with which status it leaves. No sampling here."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.cli import main as cli
from bayescale.data.runs import as_runs
from tests.fakes import at_reference, fake_fit
from tests.unit.test_stacking import backtest_of

FAMILIES = {"Llama": 1.0, "Mamba": 1.04, "Pythia": 1.1}


@dataclass
class Done:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be valid JSON alone, without NaN or infinities."""

        def refuse(word: str) -> None:
            raise AssertionError(f"{word} is no JSON")

        return json.loads(self.out, parse_constant=refuse)


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*words: str) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main(list(words))
        out, err = capsys.readouterr()
        return Done(int(left.value.code or 0), out, err)

    return call


def runs_table() -> pd.DataFrame:
    """Five sizes of three families, without noise."""
    rows = [
        {"family": family, "params": n, "tokens": 3e11, "loss": 1.6 + factor * (n / 1e9) ** -0.3}
        for family, factor in FAMILIES.items()
        for n in np.geomspace(1e8, 1e10, 5)
    ]
    return pd.DataFrame(rows)


def hierarchical() -> bs.ScalingModel:
    pooling = {"A": bs.PartialPooling("family"), "alpha": bs.PartialPooling("family")}
    return bs.ScalingModel("power_law_offset", axes={"x": "params"}, pooling=pooling)


def size_and_data() -> bs.Fit:
    params = np.repeat(np.geomspace(1e8, 1e10, 4), 3)
    table = pd.DataFrame({"params": params, "tokens": params * np.tile([5.0, 20.0, 80.0], 4)})
    constants = {"A": 480.0, "B": 2000.0, "alpha": 0.35, "beta": 0.36}
    table["loss"] = 1.8 + 480 * params**-0.35 + 2000 * table["tokens"] ** -0.36
    made = fake_fit(bs.ScalingModel("chinchilla"), table)
    return fake_fit(made.model, table, {"E": 1.8, **at_reference(made, **constants)}, draws=300)


def known_fit(model: bs.ScalingModel, data: pd.DataFrame | bs.Runs, seed: int = 0) -> bs.Fit:
    """The fit of ``runs_table`` that sampling would come near to."""
    made = fake_fit(model, data)
    scale = made.binding.reference["x"] / 1e9
    given: dict[str, Any] = {"E": 1.6, "A": {f: v * scale**-0.3 for f, v in FAMILIES.items()}, "alpha": 0.3}
    return fake_fit(model, data, given, draws=300, seed=seed)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table and saved fits, by the names that the help uses."""
    folder = tmp_path_factory.mktemp("made")
    for law, loc in (("power_law", {"A": 2.0}), ("power_law_offset", {"E": 1.6, "A": 0.4})):
        bs.save(fake_fit(bs.ScalingModel(law, axes={"x": "params"}), runs_table(), loc, draws=100), folder / f"{law}.nc")
    runs_table().to_csv(folder / "runs.csv", index=False)
    bs.save(known_fit(hierarchical(), runs_table()), folder / "fit.nc")
    bs.save(size_and_data(), folder / "chinchilla.nc")
    return folder


@pytest.fixture
def files(tmp_path: Path, made: Path, run: Run) -> Path:
    """These files in the folder where the command runs."""
    return Path(shutil.copytree(made, tmp_path, dirs_exist_ok=True))


@pytest.fixture
def no_sampling(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """``fit`` answers at once with fake draws; how it was called."""
    calls: list[dict[str, Any]] = []

    def fit(model: bs.ScalingModel, data: Any, *, columns: Any = None, response: str = "loss", **settings: Any) -> bs.Fit:
        runs = as_runs(data, columns=columns, groups=model.group_columns, response=response)
        calls.append({"model": model, "runs": runs, **settings})
        return fake_fit(model, runs, draws=300, response=response)

    def backtest(model: bs.ScalingModel, data: Any, **settings: Any) -> bs.Backtest:
        calls.append({"model": model, **settings})
        return backtest_of([2.0, 1.0] if model.law.name == "power_law" else [1.0, 1.8], model=model)

    monkeypatch.setattr(bs, "fit", fit)
    monkeypatch.setattr("bayescale.decision.forecast.fit", fit)
    monkeypatch.setattr("bayescale.evaluate.stacking.backtest", backtest)
    return calls


def commands() -> list[str]:
    return [str(command.name) for command in cli.app.registered_commands]


def examples() -> dict[str, str]:
    """The example in the help of every command."""
    found = {}
    for command in cli.app.registered_commands:
        assert command.callback is not None
        lines = [line.strip() for line in (command.callback.__doc__ or "").splitlines()]
        shown = [line for line in lines if line.startswith("bayescale ")]
        assert len(shown) == 1, f"the help of {command.name} shows {len(shown)} examples"
        found[str(command.name)] = shown[0]
    return found


def test_every_command_of_the_issue_is_there() -> None:
    wanted = "demo datasets laws check fit review compare stack predict forecast optimal crossover decide report plan next-runs"
    assert set(commands()) == set(wanted.split())


@pytest.mark.parametrize("name", ["", *commands()])
def test_help_teaches(run: Run, name: str) -> None:
    done = run(*name.split(), "--help")
    assert done.status == 0
    assert "Usage:" in done.out
    shown = " ".join(done.out.split())
    assert name == "" or "Example:" in shown


@pytest.mark.usefixtures("files", "no_sampling")
@pytest.mark.parametrize("name", [name for name in commands() if name != "demo"])
def test_the_example_of_the_help_runs(run: Run, name: str) -> None:
    program, *words = shlex.split(examples()[name])
    done = run(*words)
    assert program == "bayescale"
    assert done.status in ((0, 10, 20) if name in ("decide", "forecast") else (0,)), done.err
    assert done.out
    assert "Traceback" not in done.err


@pytest.mark.usefixtures("files", "no_sampling")
@pytest.mark.parametrize("name", [name for name in commands() if name != "demo"])
def test_json_is_valid_and_alone(run: Run, name: str) -> None:
    done = run(*shlex.split(examples()[name])[1:], "--json")
    assert isinstance(done.json, dict)


def test_version(run: Run) -> None:
    assert run("--version").out == f"bayescale {bs.__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["fits"],
        ["fit", "runs.csv", "--lw", "power_law"],
        ["fit", "runs.csv", "--law", "power_law", "--pool", "alpha"],
        ["fit", "runs.csv", "--law", "power_law", "--pool", "alpha=family", "--no-pool", "alpha=family"],
        ["fit", "runs.csv", "--column", "loss=a", "--column", "loss=b"],
        ["fit", "runs.csv", "--pool", "alpha=family"],
        ["predict", "fit.nc"],
        ["predict", "fit.nc", "--at", "params"],
        ["decide", "fit.nc", "--at", "params=7e10"],
        ["optimal", "fit.nc", "--flops", "many"],
        ["compare", "fit.nc"],
        ["stack", "fit.nc", "chinchilla.nc", "fit.nc"],
        ["stack", "fit.nc", "chinchilla.nc", "--cutoffs", "1e20,many"],
        ["crossover", "fit.nc", "--a", "family=Llama", "--b", "family=Mamba", "--within", "1e18"],
        ["datasets", "pretraining_losses", "-o", "losses.xlsx"],
    ],
)
@pytest.mark.usefixtures("files")
def test_a_command_line_that_makes_no_sense_is_2(run: Run, words: list[str]) -> None:
    done = run(*words)
    assert done.status == 2, done.err
    assert done.out == ""
    assert "Usage" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["check", "nowhere.csv"],
            "there is no file nowhere.csv. Tables in its folder: bad.csv, empty.csv, no.parquet, runs.csv",
        ),
        (["check", "nothing"], "neither a file nor a public table"),
        (["fit", "runs.csv", "--law", "power_lw"], "Did you mean 'power_law'"),
        (["fit", "runs.csv", "--law", "power_law", "-x", "x=parms"], "Did you mean 'params'"),
        (["predict", "nowhere.nc", "--at", "params=1e9"], "there is no file nowhere.nc"),
        (["predict", "fit.nc", "--at", "params=1e9,famly=Mamba"], "Did you mean 'family'"),
        (["decide", "fit.nc", "--target", "2.0", "--at", "params=1e9"], "a target is"),
        (["decide", "fit.nc", "--target", "loss<=2", "--probability", "0.3", "--at", "params=1e9"], "between 0.5 and 1"),
        (["optimal", "fit.nc", "--flops", "1e21"], "not identified"),
        (["crossover", "fit.nc", "--a", "family=Lama", "--b", "family=Mamba"], "Did you mean 'Llama'"),
        (["compare", "fit.nc", "chinchilla.nc"], "were not fitted to the same runs"),
        (["stack", "fit.nc", "nowhere.nc"], "there is no file nowhere.nc"),
        (["stack", "fit.nc", "chinchilla.nc", "-o", "nowhere/all.nc"], "cannot be written"),
        (["datasets", "chinchila"], "Did you mean 'chinchilla'"),
        (["laws", "chinchila"], "Did you mean 'chinchilla'"),
        (["fit", "runs.csv", "-l", "power_law", "-x", "x=params", "-c", "loss=los"], "--column loss=los: there is no column"),
        (["fit", "bad.csv", "-l", "power_law", "-x", "x=params"], "Then say --column 'params=Param s'"),
        (["fit", "runs2.csv", "-l", "power_law"], "--axis x=params or --axis x=tokens"),
        (["fit", "empty.csv"], "could not be read"),
        (["fit", "no.parquet"], "could not be read as Parquet"),
    ],
)
@pytest.mark.usefixtures("files", "no_sampling")
def test_an_error_is_one_message_without_a_traceback(run: Run, words: list[str], said: str) -> None:
    Path("empty.csv").touch()
    Path("no.parquet").write_text("none")
    runs_table().rename(columns={"params": "Param s"}).to_csv("bad.csv", index=False)
    runs_table().assign(tokens=np.arange(15) + 1e9).to_csv("runs2.csv", index=False)
    done = run(*words)
    assert done.status == 1
    assert done.out == ""
    assert done.err.startswith("bayescale: ")
    assert said in " ".join(done.err.split())
    assert "Traceback" not in done.err


@pytest.mark.usefixtures("files")
def test_a_fault_of_ours_keeps_its_traceback_for_debug(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(bs, "list_laws", broken)
    done = run("laws")
    assert done.status == 1
    assert "unexpected ZeroDivisionError: by zero" in done.err
    assert "--debug" in done.err
    with pytest.raises(ZeroDivisionError):
        cli.main(["--debug", "laws"])
    monkeypatch.setenv("BAYESCALE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli.main(["laws"])


@pytest.mark.parametrize("out", ["nowhere/fit.nc", "runs.csv/fit.nc", "folder"])
@pytest.mark.parametrize("command", [["fit", "runs.csv"], ["forecast", "runs.csv", "--at", "params=7e10"]])
@pytest.mark.usefixtures("files")
def test_a_file_that_cannot_be_written_is_told_before_the_work(
    run: Run, no_sampling: list[dict[str, Any]], command: list[str], out: str
) -> None:
    before = {path.name for path in Path.cwd().iterdir()}
    Path("folder").mkdir()
    done = run(*command, "-o", out)
    assert done.status == 1
    assert f"{out} cannot be written" in done.err
    assert not no_sampling
    assert {path.name for path in Path.cwd().iterdir()} == before | {"folder"}


@pytest.mark.parametrize(
    ("target", "verdict", "status"), [("loss<=2.4", "GO", 0), ("loss<=1.9", "NO_GO", 10), ("loss<=2.0", "HOLD", 20)]
)
@pytest.mark.usefixtures("files", "no_sampling")
def test_the_verdict_is_the_status(run: Run, monkeypatch: pytest.MonkeyPatch, target: str, verdict: str, status: int) -> None:
    probability = {"GO": 0.999, "NO_GO": 0.2, "HOLD": 0.9}[verdict]

    def decide(draws: Any, rule: Any, review: bs.Review) -> bs.Decision:
        assert str(rule.response) in draws
        assert len(review)
        return bs.Decision(verdict, probability, 0.002, rule, review.findings, ("because",))

    monkeypatch.setattr(bs, "decide", decide)
    monkeypatch.setattr("bayescale.decision.forecast.decide", decide)
    for words in (["decide", "fit.nc"], ["forecast", "runs.csv"]):
        words += ["--target", target, "--at", "params=7e9,family=Mamba"]
        done = run(*words)
        assert done.status == status
        assert verdict in done.out
        assert "because" in done.out
        machine = run(*words, "--json")
        assert machine.status == status
        found = machine.json if words[0] == "decide" else machine.json["decision"]
        assert (found["verdict"], found["probability"], found["reasons"]) == (verdict, probability, ["because"])


@pytest.mark.usefixtures("files")
def test_decide_says_what_the_public_functions_say(run: Run) -> None:
    fitted, where = bs.load("fit.nc"), {"params": [3e10], "family": ["Mamba"]}
    expected = bs.decide(bs.predict(fitted, where, seed=3), "loss<=2.05", bs.review(fitted, where))
    done = run("decide", "fit.nc", "-t", "loss<=2.05", "--at", "params=3e10,family=Mamba", "--seed", "3", "--json")
    assert done.json["probability"] == expected.probability
    assert done.json["verdict"] == expected.verdict
    assert done.status == {"GO": 0, "NO_GO": 10, "HOLD": 20}[expected.verdict]


@pytest.mark.usefixtures("files", "no_sampling")
def test_forecast_without_a_target_is_done_with_0(run: Run) -> None:
    done = run("forecast", "runs.csv", "--at", "params=7e10,family=Mamba", "-o", "made.nc", "--json")
    assert done.status == 0
    assert done.json["decision"] is None
    assert bs.load("made.nc").response == "loss"


@pytest.mark.usefixtures("files")
def test_predict_takes_points_and_files_of_points(run: Run) -> None:
    points = pd.DataFrame({"params": [2e10, 7e10], "family": ["Mamba", "Llama"]})
    points.to_csv("points.csv", index=False)
    expected = bs.summarize(bs.predict(bs.load("fit.nc"), points), prob=0.5)
    one = run("predict", "fit.nc", "--at", "points.csv", "--prob", "0.5", "--json").json
    two = run(
        "predict", "fit.nc", "--at", "params=2e10,family=Mamba", "--at", "params=7e10,family=Llama", "--prob", "0.5", "--json"
    )
    assert one == two.json
    for name in ("median", "lower", "upper"):
        assert [row[name] for row in one["points"]] == list(expected[name])


@pytest.mark.usefixtures("files")
def test_crossover_is_along_the_only_covariate(run: Run) -> None:
    fitted = bs.load("fit.nc")
    draws = bs.crossover(fitted.select(family="Llama"), fitted.select(family="Mamba"), along="params")
    done = run("crossover", "fit.nc", "--a", "family=Llama", "--b", "family=Mamba", "--json")
    assert done.json["along"] == "params"
    assert done.json["crossing"]["p_none"] == float(draws["p_none"])
    assert [row["p_b_better"] for row in done.json["scale"]] == list(draws["p_b_better"].to_numpy())
    assert done.json["baseline"] == draws.attrs["baseline"] != ""
    assert "as measured at the largest scale" in run("crossover", "fit.nc", "--a", "family=Llama", "--b", "family=Mamba").out


@pytest.mark.usefixtures("files")
def test_two_fits_are_compared_without_naming_groups(run: Run) -> None:
    Path("other.nc").write_bytes(Path("fit.nc").read_bytes())
    words = run("crossover", "fit.nc", "--fit-b", "other.nc", "--at", "family=Llama").out
    assert "P(other is better than fit)" in words
    Path("again").mkdir()
    Path("again/fit.nc").write_bytes(Path("fit.nc").read_bytes())
    alike = run("crossover", "fit.nc", "--fit-b", "again/fit.nc", "--at", "family=Llama").out
    assert "P(again/fit.nc is better than fit.nc)" in alike
    assert "--fit-b" in run("crossover", "fit.nc", "--a", "family=Llama").err


def test_a_public_table_can_be_written_and_checked(run: Run) -> None:
    done = run("datasets", "pretraining_losses", "--runs", "-o", "losses.csv")
    assert done.status == 0
    written = pd.read_csv("losses.csv")
    assert len(written) == len(bs.load_dataset("pretraining_losses", runs=True))
    assert run("check", "losses.csv", "--json").json == run("check", "pretraining_losses", "--json").json


def test_check_reports_faults_and_is_done_with_0(run: Run) -> None:
    runs_table().assign(loss=-1.0).to_csv("bad.csv", index=False)
    done = run("check", "bad.csv")
    assert done.status == 0
    assert "FAIL" in done.out
    assert "--column loss=los: there is no column 'los'" in " ".join(run("check", "bad.csv", "-c", "loss=los").out.split())


NO_JAX = """
import sys
from bayescale.cli.main import main
try:
    main(["fit", "--help"])
finally:
    print({"jax", "numpyro", "pandas", "matplotlib", "xarray"} & set(sys.modules))
"""


def test_help_needs_no_jax() -> None:
    done = subprocess.run([sys.executable, "-c", NO_JAX], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
