"""``recommended``: which model suits a table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from bayescale.core.errors import DataError, NotIdentifiedError, SpecError
from bayescale.data.datasets import load_dataset
from bayescale.data.runs import as_runs
from bayescale.evaluate.recommend import MOST_DRIFTS, TABLE_DRIFT, TABLE_MISFIT, TABLE_NOISE, recommended
from bayescale.infer.fit import Fit
from bayescale.models.discrepancy import RunEffect, SlopeDrift, SmoothMisfit
from bayescale.models.noise import BestSoFar, Gaussian, StudentT
from bayescale.models.pooling import NoPooling, PartialPooling
from bayescale.models.scaling import ScalingModel


def grid(**columns: object) -> pd.DataFrame:
    """Sizes crossed with data."""
    rows = [(n, d) for n in np.logspace(8, 10, 4) for d in (1e10, 5e10, 2e11)]
    df = pd.DataFrame(rows, columns=["params", "tokens"])
    return df.assign(loss=1.7 + 400 * df["params"] ** -0.34 + 410 * df["tokens"] ** -0.28, **columns)


def families(
    architectures: dict[str, str], texts: tuple[str, ...] = ("T",), tokens: Callable[[np.ndarray], np.ndarray] | None = None
) -> pd.DataFrame:
    """Four sizes of every family on every text."""
    sizes = np.logspace(8, 10, 4)
    parts = [
        pd.DataFrame({"family": f, "architecture": a, "dataset": t, "params": sizes, "loss": 1.7 + 400 * sizes**-0.34})
        for f, a in architectures.items()
        for t in texts
    ]
    df = pd.concat(parts, ignore_index=True)
    return df if tokens is None else df.assign(tokens=tokens(df["params"].to_numpy()))


def reasons(model: ScalingModel) -> str:
    return "\n".join(model.reasons)


def test_size_and_data_that_vary_apart_take_a_law_of_both() -> None:
    model = recommended(grid())
    assert model.law.name == "coupled_power_law"
    assert not model.pooling
    assert not model.axes
    assert model.reasons[0] == "law coupled_power_law: params and tokens both vary, and not together"


def test_a_table_of_losses_may_leave_its_law() -> None:
    """A drift along compute, known to be less than that of one curve, a misfit in the ratio, and noise with heavy tails."""
    model = recommended(grid())
    assert model.discrepancy == (TABLE_DRIFT, TABLE_MISFIT)
    assert TABLE_DRIFT.along == "flops"
    assert TABLE_DRIFT.growth is not None
    assert TABLE_DRIFT.priors["drift_size"].loc < SlopeDrift().priors["drift_size"].loc
    assert isinstance(TABLE_MISFIT, SmoothMisfit)
    assert model.noise == TABLE_NOISE
    assert isinstance(TABLE_NOISE, StudentT) and TABLE_NOISE.df == 5
    assert "a smooth misfit in tokens per parameter" in reasons(model)
    assert "Student-t noise on the logarithm of loss" in model.reasons[-1]
    assert Fit(model, as_runs(grid()), None).binding.frame is not None


def test_checkpoints_of_a_run_share_an_effect() -> None:
    model = recommended(grid(run=[f"r{i // 3}" for i in range(12)]))
    assert RunEffect() in model.parts
    assert "an effect of each run" in model.reasons[-1]
    one_each = grid(run=[f"r{i}" for i in range(12)])
    assert recommended(one_each).parts == recommended(grid()).parts


def test_pooled_tables_of_size_and_data_obey_their_law() -> None:
    both = pd.concat([grid(family="a"), grid(family="b")], ignore_index=True)
    model = recommended(both)
    assert (model.law.name, model.discrepancy, model.noise) == ("chinchilla", None, StudentT())


def test_size_and_data_that_vary_together_take_one_variable() -> None:
    model = recommended(grid().assign(tokens=lambda t: 20 * t["params"], loss=lambda t: t["loss"] * (1 + 1e-3 * t.index)))
    assert (model.law.name, dict(model.axes)) == ("bent_power_law", {"x": "params"})
    assert "params and tokens vary together, so their exponents cannot be told apart" in model.reasons[0]


def test_recorded_compute_is_preferred_where_size_and_data_vary_together() -> None:
    df = grid().assign(tokens=lambda t: 20 * t["params"], loss=lambda t: t["loss"] * (1 + 1e-3 * t.index))
    assert dict(recommended(df.assign(flops=lambda t: 7 * t["params"] * t["tokens"])).axes) == {"x": "flops"}


def test_data_that_vary_only_from_family_to_family_are_no_axis() -> None:
    """Their effect and that of the family are one: across families the correlation is low, within them there is none."""
    df = families({"a": "A", "b": "B", "c": "C"}).assign(tokens=lambda t: t["family"].map({"a": 1e10, "b": 1e11, "c": 1e12}))
    model = recommended(df)
    assert (model.law.name, dict(model.axes)) == ("power_law_offset", {"x": "params"})
    assert "tokens do not vary within family" in model.reasons[0]
    assert recommended(df.drop(columns=["family", "architecture", "dataset"])).law.name == "coupled_power_law"


@pytest.mark.parametrize("other", [{"tokens": 3e11}, {"params": 1e9}], ids=["fixed tokens", "fixed params"])
def test_families_on_lines_of_their_own_do_not_tell_exponents_apart(other: dict[str, float]) -> None:
    """In one the data grow with the size, in one only one of them varies: over both the correlation is low."""
    df = families({"grown": "A", "other": "A"}).assign(tokens=lambda t: 20 * t["params"])
    df.loc[df["family"] == "other", list(other)] = list(other.values())
    model = recommended(df.assign(loss=lambda t: t["loss"] * (1 + 1e-3 * np.arange(len(t)))))
    assert model.law.name == "power_law_offset"
    assert "params and tokens vary together within family" in model.reasons[0]
    crossed = pd.concat([df, grid(family="crossed", architecture="A", dataset="T")], ignore_index=True)
    assert recommended(crossed).law.name == "chinchilla"


def test_families_of_two_runs_are_judged_by_one_line() -> None:
    """Two runs are always on a line of their own."""
    rng = np.random.default_rng(0)
    pairs = pd.DataFrame({"params": 10 ** rng.uniform(8, 10, 12), "tokens": 10 ** rng.uniform(10, 12, 12)})
    pairs = pairs.assign(family=[f"f{i // 2}" for i in range(12)], loss=2 + 400 * pairs["params"] ** -0.34)
    assert recommended(pairs).law.name == "chinchilla"


def test_along_names_the_covariate() -> None:
    model = recommended(grid(), along="flops")
    assert (model.law.name, dict(model.axes)) == ("bent_power_law", {"x": "flops"})
    for table in (grid(flops=1e20), as_runs(grid())):
        with pytest.raises(DataError, match="Did you mean 'flops'"):
            recommended(table, along="flosp")
    with pytest.raises(SpecError, match="unknown covariate 'loss'"):
        recommended(grid(), along="loss")


def test_nothing_that_varies_is_refused() -> None:
    with pytest.raises(NotIdentifiedError, match="no covariate varies"):
        recommended(pd.DataFrame({"params": [1e9, 1e9], "loss": [2.5, 2.6]}))
    with pytest.raises(NotIdentifiedError, match="tokens does not vary"):
        recommended(grid().query("tokens == 1e10"), along="tokens")


def test_families_are_pooled() -> None:
    model = recommended(families({"a": "A", "b": "A"}))
    assert dict(model.pooling) == {"A": PartialPooling("family"), "alpha": PartialPooling("family")}
    assert "exponent alpha partly pooled: each family learns from the others" in model.reasons


def test_a_few_pooled_families_may_leave_their_law() -> None:
    model = recommended(families({"a": "A", "b": "A"}))
    assert (model.discrepancy, model.noise) == (SlopeDrift(), Gaussian())
    assert "a slope of each that drifts" in reasons(model)
    assert "under which drifts are integrated out exactly" in model.reasons[-1]
    assert Fit(model, as_runs(families({"a": "A", "b": "A"})), None).binding.design.slots["alpha"].centered.shape == (2,)


def test_chains_of_many_drifts_would_not_agree() -> None:
    """Curves are counted as the finest pooling has them: a family on two texts is two."""
    names = {f"f{i}": "A" for i in range(MOST_DRIFTS // 2)}
    assert recommended(families(names, texts=("pile", "wiki"))).discrepancy == SlopeDrift()
    more = recommended(families({**names, "one more": "A"}, texts=("pile", "wiki")))
    assert (more.discrepancy, more.noise) == (None, Gaussian())
    assert f"no drift: {2 * (MOST_DRIFTS // 2 + 1)} curves that drift" in reasons(more)


def test_families_lie_in_architectures_where_these_are_enough() -> None:
    nested = {"a": "A", "b": "A", "c": "B", "d": "B", "e": "C"}
    assert recommended(families(nested)).pooling["alpha"] == PartialPooling(("architecture", "family"))
    assert recommended(families({"a": "A", "b": "A", "c": "B"})).pooling["alpha"] == PartialPooling("family")
    one_each = {name: name.upper() for name in "abcd"}
    assert recommended(families(one_each)).pooling["alpha"] == PartialPooling("family")
    crossed = pd.concat([families(nested), families({"a": "B"})], ignore_index=True)
    assert recommended(crossed.assign(seed=range(len(crossed)))).pooling["alpha"] == PartialPooling("family")


def test_floors_belong_to_texts_and_amplitudes_to_families_on_them() -> None:
    model = recommended(families({"a": "A", "b": "B"}, texts=("pile", "wiki")).assign(tokenizer="one"))
    assert model.pooling["E"] == NoPooling("dataset")
    assert model.pooling["A"] == PartialPooling(("family", "dataset"))
    assert model.pooling["alpha"] == PartialPooling("family")
    assert "floor E one a dataset: losses are comparable within these only" in model.reasons


def test_other_groups_serve_where_there_are_no_families() -> None:
    df = families({"a": "A", "b": "B"}).drop(columns="family")
    assert recommended(df).pooling["alpha"] == PartialPooling("architecture")
    named = df.drop(columns="architecture").assign(optimiser=["adam", "sgd"] * 4, model=[f"m{i}" for i in range(8)])
    assert recommended(named).pooling["alpha"] == PartialPooling("optimiser")


def test_a_label_for_every_run_groups_nothing() -> None:
    model = recommended(grid(family=[f"f{i}" for i in range(12)]))
    assert not model.pooling
    assert "no pooling" in reasons(model)


def test_exponents_of_unlike_conventions_are_not_pooled() -> None:
    df = families({"a": "A", "b": "B"}).assign(kind=lambda t: t["family"].map({"a": "total", "b": "non-embedding"}))
    model = recommended(as_runs(df, conventions={"params": "kind"}))
    assert model.pooling["alpha"] == NoPooling("kind")
    assert "those of unlike conventions are not comparable" in reasons(model)
    assert Fit(model, as_runs(df, conventions={"params": "kind"}), None).binding


def test_a_response_that_may_be_negative_has_noise_on_the_plain_scale() -> None:
    df = grid().assign(regret=lambda t: t["loss"] - 3)
    assert recommended(df, response="regret").noise == StudentT(on="plain")
    assert recommended(df.assign(regret=df["loss"]), response="regret").noise.on == "log"
    with pytest.raises(DataError, match="expected a response above 0"):
        recommended(df.assign(loss=df["regret"]))


def test_laws_in_nats_are_for_losses() -> None:
    model = recommended(grid().rename(columns={"loss": "perplexity"}), response="perplexity")
    assert (model.law.name, dict(model.axes)) == ("bent_power_law", {"x": "flops"})
    assert "laws of both are in nats" in model.reasons[0]


def test_a_response_that_rises_is_refused() -> None:
    with pytest.raises(SpecError, match="forecast the error instead"):
        recommended(grid().rename(columns={"loss": "accuracy"}), response="accuracy")


def test_like_tables_get_equal_models() -> None:
    df = families({"a": "A", "b": "B"})
    other = df.assign(params=df["params"] * 3, loss=df["loss"] * 1.1, family=df["family"] + "x")
    assert recommended(df) == recommended(other)
    assert hash(recommended(df)) == hash(recommended(other))
    assert recommended(df) != recommended(grid())


def test_columns_and_runs_are_taken() -> None:
    df = grid()
    mapped = recommended(df.rename(columns={"loss": "nats"}), columns={"loss": "nats"})
    assert mapped == recommended(as_runs(df)) == recommended(df)
    renamed = df.rename(columns={"loss": "val_loss"})
    assert recommended(as_runs(renamed, response="val_loss")) == recommended(df)


def test_the_bundled_losses() -> None:
    model = recommended(load_dataset("pretraining_losses", runs=True))
    assert model.law.name == "power_law_offset"
    assert model.pooling == {
        "E": NoPooling(("dataset", "tokenizer", "source")),
        "A": PartialPooling(("family", "dataset")),
        "alpha": PartialPooling(("architecture", "family")),
    }


def curve(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"steps": 100.0 * np.arange(1, len(values) + 1), "loss": values})


FALLING = 2.0 + np.arange(1, 21.0) ** -0.5


def test_a_curve_has_a_drifting_slope() -> None:
    model = recommended(curve(FALLING + 0.1 * (np.arange(20) % 3 == 1)))
    assert (model.law.name, model.discrepancy) == ("bent_power_law", SlopeDrift())
    assert isinstance(model.noise, Gaussian)
    assert "a slope that drifts" in reasons(model)


def test_a_column_that_never_rises_is_the_best_so_far() -> None:
    model = recommended(curve(FALLING))
    assert model.noise == BestSoFar()
    assert "loss never rises along steps" in reasons(model)
    assert recommended(curve(FALLING).sample(frac=1, random_state=0)) == model  # rows in any order
    assert hash(recommended(curve(FALLING * 3))) == hash(model)  # and no number of the table in it


@pytest.mark.parametrize(
    "table",
    [
        curve(FALLING[:7]),  # too few to tell
        pd.concat([curve(FALLING), curve(FALLING - 1e-3)]),  # a scale twice
    ],
)
def test_other_columns_are_plain(table: pd.DataFrame) -> None:
    assert isinstance(recommended(table).noise, Gaussian)


def test_a_curve_that_does_not_move_is_refused() -> None:
    with pytest.raises(NotIdentifiedError, match="loss is the same in all 20 runs"):
        recommended(curve(np.full(20, 2.0)))
