"""The numbers of the figures of capability, against what they are computed from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import bayescale as bs
from bayescale.plots.capability import capability_table, loadings_table, plot_capability, plot_task, task_table
from tests.fake_evals import CEILING, fake_capability_fit

#: Loading on the first factor, intercept and chance rate of each task.
TASKS = {"easy": (1.0, 1.0, 0.25), "hard": (2.0, -4.0, 0.25), "code": (1.2, -2.0, 0.0), "facts": (0.8, 0.3, 0.5)}
FAMILIES = ("Llama", "Mamba", "Pythia")


def capability_of(params: float, tokens: float) -> float:
    """First factor of a model of the table."""
    return float((np.log10(params) - 9.8) / 0.7 + 0.5 * (np.log10(tokens) - 11.8) / 0.6)


def scores_table() -> pd.DataFrame:
    """Scores without noise: three families of three sizes, on four tasks."""
    rows = []
    for f, family in enumerate(FAMILIES):
        for i in range(3):
            params, tokens = 10 ** (9 + 0.6 * i + 0.1 * f), 10 ** (11.5 + 0.2 * f)
            for task, (slope, level, chance) in TASKS.items():
                mean = chance + (CEILING - chance) / (1 + np.exp(-(level + slope * capability_of(params, tokens))))
                rows.append((family, f"{family} {i}", params, tokens, task, mean, 500.0, chance))
    return pd.DataFrame(rows, columns=["family", "model", "params", "tokens", "task", "accuracy", "n_items", "chance"])


def fake_scores_fit(factors: int) -> bs.CapabilityFit:
    """A fit to the table that knows the truth; of a second factor the second anchor alone has something."""
    anchors = ("easy", "hard")[:factors]
    tasks = [*anchors, *sorted(set(TASKS) - set(anchors))]
    loading, effect = np.zeros((len(TASKS), factors)), np.zeros((factors, 3))
    loading[:, 0], effect[0, :2] = [TASKS[task][0] for task in tasks], (1.0, 0.5)
    loading[1, 1:] = 0.5
    level = {task: value for task, (_, value, _) in TASKS.items()}
    known = {"loading": loading, "effect": effect, "intercept": level, "family_sd": np.full(factors, 0.3)}
    known |= {"model_sd": np.full(factors, 0.1)}
    return fake_capability_fit(bs.CapabilityModel(factors, anchors=anchors), scores_table(), known, own=0.05, sd=0.02)


@pytest.fixture(scope="module")
def one() -> bs.CapabilityFit:
    return fake_scores_fit(1)


@pytest.fixture(scope="module")
def two() -> bs.CapabilityFit:
    return fake_scores_fit(2)


def test_capabilities_are_quantiles_of_their_draws_from_small_to_large(two: bs.CapabilityFit) -> None:
    table = capability_table(two, prob=0.8)
    assert len(table) == 9
    for _, rows in table.groupby("family"):
        assert rows["params"].is_monotonic_increasing
    row = table[table["model"] == "Mamba 2"].iloc[0]
    expected = two.latents["capability"].sel(model="Mamba 2", factor=2).quantile([0.5, 0.1, 0.9])
    np.testing.assert_allclose(row[["factor_2", "factor_2_lower", "factor_2_upper"]].to_numpy(float), expected)
    np.testing.assert_allclose(
        table["factor_1"], [capability_of(*at) for at in table[["params", "tokens"]].to_numpy()], atol=0.02
    )


def test_one_factor_is_drawn_against_compute(one: bs.CapabilityFit, two: bs.CapabilityFit) -> None:
    along, plane = (plot_capability(fit, ax=Figure().subplots()) for fit in (one, two))
    assert (along.get_xscale(), plane.get_xscale()) == ("log", "linear")
    assert "compute" in along.get_xlabel()
    assert "factor 1" in plane.get_xlabel()
    assert "factor 2" in plane.get_ylabel()


def test_families_that_are_not_asked_for_are_grey(two: bs.CapabilityFit) -> None:
    ax = plot_capability(two, families=["Mamba"], ax=Figure().subplots())
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["Mamba", "others"]
    with pytest.raises(bs.SpecError, match="Did you mean 'Mamba'"):
        plot_capability(two, families=["Mmba"], ax=Figure().subplots())


def test_a_curve_of_a_family_goes_through_its_scores_and_on(one: bs.CapabilityFit) -> None:
    table = task_table(one, "hard", families=["Llama"], beyond=1000.0)
    curve = table[table["kind"] == "curve"]
    scores = table[(table["kind"] == "score") & (table["curve"] == "Llama")].sort_values("flops")
    assert curve["flops"].max() == pytest.approx(1000 * scores["flops"].max())
    assert list(curve["extrapolated"]) == list(curve["flops"] > scores["flops"].max())
    np.testing.assert_allclose(curve["tokens"], 10**11.5)  # as in the family, whose models differ in size alone
    at = np.interp(scores["flops"], curve["flops"], curve["accuracy"])
    np.testing.assert_allclose(at, scores["accuracy"], atol=0.05)
    assert (curve["lower"] <= curve["accuracy"]).all()
    assert (curve["accuracy"] <= curve["upper"]).all()
    ceiling = table[table["kind"] == "ceiling"].iloc[0]
    assert ceiling["accuracy"] == pytest.approx(CEILING, abs=0.01)
    assert ceiling["lower"] < ceiling["accuracy"] < ceiling["upper"]
    assert table.loc[table["kind"] == "chance", "accuracy"].tolist() == [TASKS["hard"][2]]
    # A task near chance at every fitted size is mastered far beyond them, and only the curve knows it.
    assert scores["accuracy"].max() < 0.4
    assert curve["accuracy"].iloc[-1] > 0.8


def test_a_new_family_is_less_certain_than_a_fitted_one(one: bs.CapabilityFit) -> None:
    new, known = task_table(one, "code"), task_table(one, "code", families=["Mamba"])
    assert set(new.loc[new["kind"] == "curve", "curve"]) == {"a new family"}
    width = [(t["upper"] - t["lower"])[t["kind"] == "curve"].max() for t in (new, known)]
    assert width[0] > 1.5 * width[1]


def test_scores_that_were_held_back_are_shown_beside(one: bs.CapabilityFit) -> None:
    held = pd.DataFrame(
        {"family": ["Mamba", "Other"], "task": ["hard", "easy"], "params": 7e10, "tokens": 2e12, "accuracy": 0.9}
    )
    table = task_table(one, "hard", held_back=held)
    back = table[table["kind"] == "held back"]
    assert back["curve"].tolist() == ["Mamba"]
    assert back["flops"].item() == pytest.approx(6 * 7e10 * 2e12)
    ax = plot_task(one, "hard", families=["Mamba"], held_back=held, ax=Figure().subplots())
    assert any(line.get_markerfacecolor() == "white" and line.get_ydata()[0] == 0.9 for line in ax.lines)
    with pytest.raises(bs.SpecError, match="'family'"):
        task_table(one, "hard", held_back=held.drop(columns="family"))


def test_loadings_are_told_with_what_fixes_them(two: bs.CapabilityFit) -> None:
    table = loadings_table(two, prob=0.5).set_index(["task", "factor"])
    assert table.index.get_level_values("task").unique().tolist() == ["easy", "hard", "code", "facts"]
    assert not table.loc[("easy", 1), "free"]
    assert not table.loc[("easy", 2), "free"]
    assert table.loc[("hard", 2), "free"]
    assert table.loc[("easy", 1), "median"] == 1
    expected = two.posterior["loading"].sel(task="code", factor=1).quantile([0.5, 0.25, 0.75])
    np.testing.assert_allclose(table.loc[("code", 1), ["median", "lower", "upper"]].to_numpy(float), expected)
    assert (table["scores"] == len(FAMILIES) * 3).all()


def test_what_makes_no_sense_is_refused(one: bs.CapabilityFit) -> None:
    with pytest.raises(bs.SpecError) as caught:
        task_table(one, "hrd", families=["Lama"], prompt="cot", beyond=0.5)
    assert all(word in str(caught.value) for word in ("'hard'", "'Llama'", "cot", "beyond"))
    with pytest.raises(bs.SpecError, match="prob"):
        loadings_table(one, prob=90)


def test_compute_that_is_not_known_is_left_out() -> None:
    table = scores_table()
    table.loc[table["family"] == "Mamba", "tokens"] = np.nan
    fit = fake_scores_fit(1)
    fit = bs.CapabilityFit(fit.model, bs.Evals.from_frame(table), fit.tree)
    with pytest.raises(bs.SpecError, match="not known of any model of Mamba"):
        task_table(fit, "hard", families=["Mamba"])
    ax = plot_capability(fit, ax=Figure().subplots())
    legend = ax.get_legend()
    assert legend is not None
    assert "Mamba" not in [text.get_text() for text in legend.get_texts()]
