"""Ensembles: which draws are from which member, what the verbs make of them, and a file and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale.core.errors import DataError, NotIdentifiedError, SpecError
from bayescale.infer.ensemble import Ensemble
from bayescale.infer.fit import Fit
from bayescale.models.pooling import NoPooling
from bayescale.models.scaling import ScalingModel
from tests.fakes import fake_fit


def table() -> pd.DataFrame:
    params = np.geomspace(1e8, 1e10, 6)
    loss = 2.5 * (params / 1e9) ** -0.05
    return pd.DataFrame({"params": params, "loss": loss, "family": list("aabbab"), "# experts": list("xyxyxy")})


def flat(level: float, data: pd.DataFrame | None = None, **kwargs) -> Fit:
    """A law that is the same number everywhere, and in every draw."""
    model = ScalingModel("power_law", axes={"x": "params"}, noise=bs.Gaussian())
    given = {"A": level, "alpha": 1e-9, "sigma": 1e-9}
    return fake_fit(model, table() if data is None else data, given, sd=0.0, **kwargs)


@pytest.fixture
def both() -> Ensemble:
    return Ensemble({"low": flat(2.0), "high": flat(4.0)}, {"low": 0.25, "high": 0.75})


class TestMembers:
    def test_counts_are_the_weights(self, both) -> None:
        assert both.members(0).counts == {"low": 200, "high": 600}

    @pytest.mark.parametrize(("weights", "counts"), [((0.5, 0.25, 0.25), (2, 1, 1)), ((0.4, 0.35, 0.25), (2, 1, 1))])
    def test_few_draws_go_to_the_largest_remainders(self, weights, counts) -> None:
        names = ("a", "b", "c")
        fits = {name: flat(2.0, chains=2, draws=2) for name in names}
        made = Ensemble(fits, dict(zip(names, weights, strict=True)))
        assert made.members(3).counts == dict(zip(names, counts, strict=True))

    def test_every_chain_has_its_share(self, both) -> None:
        which = both.members(0).which.reshape(4, 200)
        assert (np.abs((which == 0).sum(axis=1) - 50) <= 1).all()

    def test_the_seed_decides(self, both) -> None:
        first, again, other = both.members(1), both.members(1), both.members(2)
        assert np.array_equal(first.which, again.which)
        assert not np.array_equal(first.which, other.which)

    @pytest.mark.parametrize("seed", [-1, 1.5, True])
    def test_a_seed_that_is_none(self, both, seed) -> None:
        with pytest.raises(SpecError, match="seed is an integer"):
            both.members(seed)

    def test_members_of_other_sizes_share_a_grid(self) -> None:
        made = Ensemble(
            {"long": flat(2.0, chains=3, draws=40), "short": flat(4.0, chains=2, draws=10)}, {"long": 0.5, "short": 0.5}
        )
        found = made.members(0)
        assert found.shape == (2, 10)
        chain, draw = np.divmod(found.place[found.which == 0], 40)
        assert set(chain) <= {0, 1}
        # Evenly spaced over the whole of the longer chain, one in each stretch of four.
        here = np.flatnonzero(found.which == 0) % 10
        assert np.array_equal(draw // 4, here)

    def test_without_weight_there_is_no_draw(self) -> None:
        made = Ensemble({"one": flat(2.0), "none": flat(4.0, chains=1, draws=3)}, {"one": 1.0, "none": 0.0})
        assert made.members(0).counts == {"one": 800}


class TestAnswers:
    def test_quantiles_of_the_mixture(self, both) -> None:
        found = bs.summarize(bs.predict(both, {"params": 1e11}), prob=0.4).iloc[0]
        assert [found["lower"], found["median"], found["upper"]] == pytest.approx([4.0, 4.0, 4.0], rel=1e-6)
        assert bs.summarize(bs.predict(both, {"params": 1e11}), prob=0.6).iloc[0]["lower"] == pytest.approx(2.0, rel=1e-6)
        assert found["mean"] == pytest.approx(0.25 * 2 + 0.75 * 4, rel=1e-6)

    def test_alone_it_is_the_fit(self) -> None:
        fitted = fake_fit(ScalingModel("power_law_offset", axes={"x": "params"}), table(), sd=0.1)
        alone = Ensemble({"it": fitted}, {"it": 1.0})
        at = {"params": [1e9, 1e12]}
        assert np.array_equal(bs.predict(alone, at, seed=3)["loss"], bs.predict(fitted, at, seed=3)["loss"])
        ours, theirs = (bs.scale_for(one, "loss<=2.0", seed=3) for one in (alone, fitted))
        assert np.array_equal(ours["params"], theirs["params"])
        assert ours["p_never"] == theirs["p_never"]

    def test_a_draw_is_the_members_own_there(self) -> None:
        model = ScalingModel("power_law_offset", axes={"x": "params"})
        fits = {name: fake_fit(model, table(), sd=0.1, seed=seed) for name, seed in (("a", 1), ("b", 2))}
        made, at = Ensemble(fits, {"a": 0.5, "b": 0.5}), {"params": [1e9, 1e12]}
        mixed = bs.predict(made, at, seed=3)
        for name, fitted in fits.items():
            here = (mixed["member"] == name).to_numpy()
            assert np.array_equal(mixed["loss"].to_numpy()[here], bs.predict(fitted, at, seed=3)["loss"].to_numpy()[here])

    def test_a_draw_is_of_one_member_in_every_verb(self, both) -> None:
        drawn, scales = bs.predict(both, {"params": 1e11}, seed=5), bs.scale_for(both, "loss<=3", seed=5)
        low = drawn["loss"].isel(point=0) < 3
        assert np.array_equal(drawn["member"] == "low", low)
        assert np.array_equal(np.isfinite(scales["params"]), low)
        assert float(scales["p_never"]) == pytest.approx(0.75)
        assert float(scales["p_below"]) == pytest.approx(0.25)

    def test_selections_of_one_ensemble_are_compared_draw_by_draw(self) -> None:
        pooled = ScalingModel("power_law", axes={"x": "params"}, pooling={"A": NoPooling("family")})
        near, far = (fake_fit(pooled, table(), {"A": {"a": 2.0, "b": b}, "alpha": 0.1}, sd=0.0) for b in (2.2, 1.8))
        made = Ensemble({"b worse": near, "b better": far}, {"b worse": 0.4, "b better": 0.6})
        found = bs.crossover(made.select(family="a"), made.select(family="b"), along="params")
        assert found["p_b_better"].to_numpy() == pytest.approx(0.6)
        assert float(found["p_none"]) == 1.0

    def test_a_crossing_with_another_fit(self, both) -> None:
        model = ScalingModel("power_law", axes={"x": "params"})
        falling = fake_fit(model, table(), {"A": 3.0, "alpha": 0.5}, sd=0.0, chains=2, draws=100)
        found = bs.crossover(both, falling, along="params")
        at = found["params"].to_numpy().ravel()
        assert found["params"].shape == (2, 100)
        # 3 (params / 1e9)^-0.5 is 4 at 0.5625e9 and 2 at 2.25e9.
        assert set(np.round(at / 1e9, 3)) == {0.562, 2.25}
        assert np.isclose(at, 2.25e9, rtol=1e-3).mean() == pytest.approx(0.25, abs=0.13)

    def test_optima_of_laws_with_and_without_closed_form(self) -> None:
        params = np.repeat(np.geomspace(1e8, 1e10, 4), 3)
        data = pd.DataFrame(
            {"params": params, "tokens": 20 * params * np.tile([0.3, 1.0, 3.0], 4), "loss": np.linspace(3, 2, 12)}
        )
        fits = {law: fake_fit(ScalingModel(law), data, sd=0.0, chains=2, draws=20) for law in ("chinchilla", "kaplan_nd")}
        found = bs.compute_optimal(Ensemble(fits, {"chinchilla": 0.5, "kaplan_nd": 0.5}), 1e22)
        for law, fitted in fits.items():
            here = found["params"].to_numpy()[(found["member"] == law).to_numpy()]
            assert here == pytest.approx(bs.compute_optimal(fitted, 1e22)["params"].to_numpy().flat[0], rel=1e-9)
        assert "allocation_exponent" not in found
        assert found.attrs["law"] == "chinchilla + kaplan_nd"

    def test_a_refusal_names_the_member(self) -> None:
        data = table().assign(tokens=2e10)
        two = fake_fit(ScalingModel("chinchilla"), data)
        made = Ensemble({"size": flat(2.0, data), "both": two}, {"size": 0.5, "both": 0.5})
        with pytest.raises(DataError, match=r"member 'both' .*\n.*no 'tokens'") as caught:
            bs.predict(made, {"params": 1e9})
        assert caught.value.faults
        with pytest.raises(NotIdentifiedError, match="member 'size'"):
            bs.compute_optimal(made, 1e22)

    def test_select_refuses_what_is_not_there(self, both) -> None:
        with pytest.raises(SpecError, match="unknown group column 'famly'"):
            both.select(famly="a")
        with pytest.raises(SpecError, match="unknown family 'c'"):
            both.select(family="c")


class TestValidation:
    def test_everything_at_once(self) -> None:
        fits = {"a": flat(2.0), "b": flat(2.0, table().assign(loss=3.0))}
        with pytest.raises(SpecError) as caught:
            Ensemble(fits, {"a": -0.5, "c": 0.5})
        said = str(caught.value)
        assert "they differ in 'loss'" in said
        assert all(fits[name].data.digest[:12] in said for name in fits)
        assert "there is none for 'b'" in said
        assert "unknown fit 'c'" in said
        assert "'a' has -0.5" in said

    @pytest.mark.parametrize(
        ("fits", "weights", "said"),
        [
            ({}, {}, "there is none"),
            ([1], {}, "expected a mapping of name to Fit"),
            ({"a": 1}, {"a": 1.0}, "'a' is no Fit but int"),
        ],
    )
    def test_no_fits(self, fits, weights, said) -> None:
        with pytest.raises(SpecError, match=said):
            Ensemble(fits, weights)

    @pytest.mark.parametrize("weights", [{"a": 0.5, "b": 0.4}, {"a": float("nan"), "b": 1.0}])
    def test_weights_that_are_none(self, weights) -> None:
        with pytest.raises(SpecError, match=r"sum to 0.9|'a' has nan"):
            Ensemble({"a": flat(2.0), "b": flat(3.0)}, weights)

    def test_other_responses(self) -> None:
        other = fake_fit(
            ScalingModel("power_law", axes={"x": "params"}), table().rename(columns={"loss": "ppl"}), response="ppl"
        )
        with pytest.raises(SpecError, match="the responses are 'loss' and 'ppl'"):
            Ensemble({"a": flat(2.0), "b": other}, {"a": 0.5, "b": 0.5})

    def test_the_columns_that_a_model_reads_are_no_difference(self) -> None:
        pooled = ScalingModel("power_law", axes={"x": "params"}, pooling={"A": NoPooling("# experts")})
        fits = {"a": flat(2.0), "b": fake_fit(pooled, table())}
        assert fits["a"].data.digest != fits["b"].data.digest
        assert Ensemble(fits, {"a": 0.5, "b": 0.5}).response == "loss"


def test_it_says_names_weights_and_advice() -> None:
    made = Ensemble({"a": flat(2.0), "b": flat(3.0)}, {"a": 0.25, "b": 0.75}, advice=("mind this",))
    assert repr(made) == "Ensemble of 2 laws fitted to 6 runs: b 0.75, a 0.25\n  - mind this"


def test_a_file_and_back(tmp_path: Path) -> None:
    rows = {"log_score": [1 / 3, np.nan], "n": [3, 4]}
    evidence = pd.DataFrame(rows, index=pd.Index(["a/ü", "b"], name="candidate"))
    made = Ensemble({"a/ü": flat(2.0, draws=10), "b": flat(3.0, draws=20)}, {"a/ü": 0.1, "b": 0.9}, evidence, ("mind this",))
    path = bs.save(made, tmp_path / "both.nc")
    back = bs.load(path)
    assert isinstance(back, Ensemble)
    assert (dict(back.weights), back.advice, list(back.fits)) == (dict(made.weights), made.advice, list(made.fits))
    pd.testing.assert_frame_equal(back.evidence, evidence)
    for name, fitted in made.fits.items():
        assert back.fits[name].model == fitted.model
        assert back.fits[name].data.digest == fitted.data.digest
        assert back.fits[name].tree.identical(fitted.tree)
    at = {"params": [1e9, 1e11]}
    assert bs.predict(back, at).identical(bs.predict(made, at))
    with xr.open_datatree(path, engine="netcdf4") as opened:
        assert opened["member_1"]["posterior"]["A"].shape == (4, 20)
