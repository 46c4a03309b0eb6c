"""What a law has beside size and data is chosen with them: a bowl whose best is known in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bayescale.core.errors import DataError, NotIdentifiedError, SpecError
from bayescale.core.findings import Status
from bayescale.decision.allocation_checks import check_allocation
from bayescale.infer.fit import Fit
from bayescale.laws.base import law
from bayescale.laws.param import Param
from bayescale.models.noise import StudentT
from bayescale.models.scaling import ScalingModel
from bayescale.prediction.allocation import off_optimum
from bayescale.prediction.optimum import compute_optimal
from bayescale.prediction.predict import predict
from tests.fakes import fake_fit

#: Best learning rate and batch are powers of size and data.
BOWL = {
    "rate": 0.002, "rate_params": -0.5, "rate_tokens": 0.2, "rate_batch": 0.3, "best_batch": 1.2, "batch_tokens": 0.5,
    "rate_cost": 0.02, "rate_skew": 0.5, "batch_cost": 0.01,
}  # fmt: skip  # a line a part of the surface
BASE = {"level": 2.5, "floor": 0.6, "share": 0.5, "q": 0.8, "alpha": 0.33, "beta": 0.35}
BUDGET = 1e21


def runs() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    params = np.repeat(np.geomspace(1e8, 1e10, 6), 6)
    return pd.DataFrame(
        {
            "params": params,
            "tokens": params * np.tile(np.geomspace(5, 100, 6), 6),
            "learning_rate": 10 ** rng.uniform(-3.5, -2, 36),
            "batch": 10 ** rng.uniform(5, 7, 36),
            "loss": 2.5 + 0.1 * rng.random(36),
        }
    )


def swept(sd: float = 0.0, **more: float) -> Fit:
    axes = {name: name for name in ("params", "tokens", "learning_rate", "batch")}
    draws = 50 if sd else 2  # of draws that are all alike two are enough
    return fake_fit(ScalingModel("learning_rate_batch", axes=axes), runs(), BASE | BOWL | more, sd=sd, chains=2, draws=draws)


def plain() -> Fit:
    """The law of size and data alone, at the same reference run."""
    return fake_fit(ScalingModel("coupled_power_law"), runs(), BASE, sd=0.0, chains=2, draws=2)


def test_the_best_of_every_knob_is_found_with_size_and_data() -> None:
    fit = swept()
    found = compute_optimal(fit, BUDGET).isel(chain=0, draw=0, point=0)
    alone = compute_optimal(plain(), BUDGET).isel(chain=0, draw=0, point=0)
    assert found["params"].item() == pytest.approx(alone["params"].item(), rel=1e-3)
    assert found["loss"].item() == pytest.approx(alone["loss"].item(), rel=1e-6)
    reference = fit.binding.reference
    size, data = found["params"].item() / reference["params"], found["tokens"].item() / reference["tokens"]
    assert found["batch"].item() == pytest.approx(1.2 * data**0.5 * reference["batch"], rel=1e-2)
    assert found["learning_rate"].item() == pytest.approx(0.002 * size**-0.5 * data**0.2, rel=1e-2)
    assert list(found.data_vars)[:6] == ["params", "tokens", "tokens_per_param", "learning_rate", "batch", "loss"]
    assert float(found["p_none"]) == 0.0


def test_a_knob_that_is_held_stays_and_moves_the_best_of_the_others() -> None:
    fit = swept()
    found = compute_optimal(fit, BUDGET, at={"batch": 1e5}).isel(chain=0, draw=0, point=0)
    free = compute_optimal(fit, BUDGET).isel(chain=0, draw=0, point=0)
    assert found["batch"].item() == 1e5
    assert found["loss"].item() > free["loss"].item()
    # A smaller batch than the best wants a lower learning rate.
    assert found["learning_rate"].item() < free["learning_rate"].item()
    both = compute_optimal(fit, BUDGET, at={"batch": 1e6, "learning_rate": 1e-3}, max_tokens=1e10).isel(
        chain=0, draw=0, point=0
    )
    assert both["tokens"].item() == pytest.approx(1e10)
    assert both["learning_rate"].item() == 1e-3


def test_coupled_knobs_and_a_steep_bowl_settle_where_the_closed_form_says() -> None:
    fit = swept(rate_batch=0.7, batch_cost=0.004)
    found = compute_optimal(fit, BUDGET).isel(chain=0, draw=0, point=0)
    data = found["tokens"].item() / fit.binding.reference["tokens"]
    assert found["batch"].item() == pytest.approx(1.2 * data**0.5 * fit.binding.reference["batch"], rel=2e-2)
    steep = compute_optimal(swept(rate_cost=0.3), BUDGET).isel(chain=0, draw=0, point=0)
    assert steep["params"].item() == pytest.approx(compute_optimal(plain(), BUDGET)["params"][0, 0, 0].item(), rel=5e-3)


def test_what_is_held_is_held_in_draws_without_an_optimum_too() -> None:
    falling = {"alpha": 0.001, "beta": 0.6}
    found = compute_optimal(swept(**falling), BUDGET, at={"batch": 1e6, "learning_rate": 1e-3}, max_tokens=1e10)
    assert (found["batch"] == 1e6).all()
    assert found["p_capped"].item() == 1.0


def test_each_draw_has_its_own_best() -> None:
    found = compute_optimal(swept(sd=0.05), [BUDGET, 10 * BUDGET])
    assert found["learning_rate"].dims == ("chain", "draw", "point")
    assert (found["learning_rate"].std(("chain", "draw")) > 0).all()
    assert (found["p_none"] == 0).all()


def repeated() -> Fit:
    table = runs().drop(columns=["learning_rate", "batch"]).assign(epochs=np.tile([1.0, 4.0, 16.0], 12))
    truth = {"E": 1.8, "A": 0.4, "B": 0.4, "alpha": 0.35, "beta": 0.35, "lasting": 15.0, "excess": 5.0}
    return fake_fit(ScalingModel("data_constrained"), table, truth, sd=0.0, chains=2, draws=2)


def test_of_data_without_limit_one_pass_is_best() -> None:
    fit = repeated()
    found = compute_optimal(fit, BUDGET).isel(chain=0, draw=0, point=0)
    assert found["epochs"].item() == 1.0
    held = compute_optimal(fit, BUDGET, at={"epochs": 4}).isel(chain=0, draw=0, point=0)
    assert held["epochs"].item() == 4.0 and held["loss"].item() > found["loss"].item()
    plenty = compute_optimal(fit, BUDGET, unique_tokens=1e15).isel(chain=0, draw=0, point=0)
    assert plenty["params"].item() == pytest.approx(found["params"].item(), rel=1e-6)


def test_so_many_unique_tokens_how_large_a_model_and_how_many_passes() -> None:
    fit, unique = repeated(), 1e10
    found = compute_optimal(fit, BUDGET, unique_tokens=unique).isel(chain=0, draw=0, point=0)
    tokens = np.geomspace(1e9, 1e13, 40001)
    grid = pd.DataFrame({"params": BUDGET / (6 * tokens), "tokens": tokens, "epochs": np.maximum(tokens / unique, 1)})
    loss = predict(fit, grid.loc[grid["params"] > 1e5], kind="mean")["loss"].isel(chain=0, draw=0).to_numpy()
    best = grid.loc[grid["params"] > 1e5].iloc[int(loss.argmin())]
    assert 1 < best["epochs"] < 100
    assert found["epochs"].item() == pytest.approx(best["epochs"], rel=1e-2)
    assert found["loss"].item() == pytest.approx(float(loss.min()), rel=1e-6)
    assert found["tokens"].item() == pytest.approx(found["epochs"].item() * unique)
    free = compute_optimal(fit, BUDGET).isel(chain=0, draw=0, point=0)
    # What is left when data run out buys less than new tokens would.
    assert found["loss"].item() > free["loss"].item()


def test_data_that_are_used_up_are_told() -> None:
    fit = repeated()
    found = compute_optimal(fit, [1e21, 1e25], unique_tokens=1e9)
    assert found["p_saturated"].to_numpy().tolist() == [0.0, 1.0]
    told = {f.check: f for f in check_allocation(fit, 1e25, unique_tokens=1e9)}
    assert told["unique data"].status is Status.REVIEW
    assert "a tenth of 1e+25 FLOP reaches as much" in told["unique data"].message
    assert "unique data" not in {f.check for f in check_allocation(fit, 1e21, unique_tokens=1e9)}


def test_epochs_beyond_those_that_were_made_are_told() -> None:
    far = check_allocation(repeated(), 1e21, unique_tokens=3e8)
    inside = next(f for f in far if f.check == "inside the runs")
    assert inside.status is Status.REVIEW and "epochs" in inside.message
    near = check_allocation(repeated(), 1e21, unique_tokens=1e10)
    assert "epochs" not in next(f for f in near if f.check == "inside the runs").message


def test_a_tenth_that_buys_nothing_is_no_tenth_that_does_as_well() -> None:
    found = compute_optimal(repeated(), 5e20, cost=lambda n, d: 1e20 + 6 * n * d, unique_tokens=1e10)
    assert found["p_saturated"].item() == 0.0 and np.isfinite(found["params"]).all()


def test_a_law_of_ones_own_may_take_epochs_as_a_ratio() -> None:
    @law(response="loss", E=Param.positive(1.8, 0.3), A=Param.positive(0.5, 0.5), alpha=Param.positive(0.3, 0.3))
    def passes_of_ones_own(params: Any, tokens: Any, epochs: Any, *, E: Any, A: Any, alpha: Any) -> Any:
        return E + A * params**-alpha + A * (tokens / epochs**0.5) ** -alpha

    table = runs().drop(columns=["learning_rate", "batch"]).assign(epochs=np.tile([1.0, 4.0, 16.0], 12))
    fit = fake_fit(ScalingModel(passes_of_ones_own), table, sd=0.0, chains=2, draws=2)
    assert (compute_optimal(fit, BUDGET)["epochs"] == 1.0).all()
    assert (compute_optimal(fit, BUDGET, unique_tokens=1e9)["epochs"] > 1.0).all()


def test_only_a_law_of_passes_minds_a_part_of_one() -> None:
    table = runs().drop(columns=["learning_rate", "batch"]).assign(epochs=0.3)
    assert len(fake_fit(ScalingModel("chinchilla"), table, draws=2).data) == len(table)
    with pytest.raises(DataError, match="epochs: expected passes over the unique tokens"):
        fake_fit(ScalingModel("data_constrained"), table)
    renamed = table.drop(columns="epochs").assign(passes=4.0)
    fit = fake_fit(ScalingModel("data_constrained", axes={"epochs": "passes"}), renamed, sd=0.0, chains=2, draws=2)
    assert compute_optimal(fit, BUDGET, unique_tokens=1e15)["passes"].to_numpy() == pytest.approx(1.0)


def test_the_price_of_being_off_the_optimum_with_knobs_held_and_data_limited() -> None:
    fit = repeated()
    best = compute_optimal(fit, BUDGET, unique_tokens=1e10).isel(chain=0, draw=0, point=0)
    there = {name: best[name].item() for name in ("params", "tokens", "epochs")}
    off = {"params": there["params"] / 4, "tokens": there["tokens"] * 4, "epochs": there["epochs"] * 4}
    price = off_optimum(fit, pd.DataFrame([there, off])).isel(chain=0, draw=0)
    assert price["overpaid"].to_numpy()[0] == pytest.approx(1.0, abs=1e-3)
    assert price["overpaid"].to_numpy()[1] > 1.2
    np.testing.assert_allclose(price["params_ratio"], [1.0, 0.25], rtol=1e-2)
    run = {"params": 1e9, "tokens": 2e11, "learning_rate": 1e-3, "batch": 1e6}
    excess = off_optimum(swept(), run)["excess"].isel(chain=0, draw=0, point=0).item()
    held = {name: run[name] for name in ("learning_rate", "batch")}
    least = compute_optimal(swept(), 6 * 1e9 * 2e11, at=held)["loss"].isel(chain=0, draw=0, point=0).item()
    reached = predict(swept(), run, kind="mean")["loss"].isel(chain=0, draw=0, point=0).item()
    assert excess == pytest.approx(reached - least, rel=1e-4)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"at": {"epochs": 0.5}}, "epochs are at least 1, got 0.5"),
        ({"at": {"epochs": 2}, "unique_tokens": 1e10}, "epochs follow from unique_tokens"),
        ({"unique_tokens": "many"}, "unique_tokens is a positive number of tokens, got 'many'"),
        ({"max_tokens": "many"}, "max_tokens is a positive number of tokens, got 'many'"),
    ],
)
def test_passes_that_make_no_sense(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        compute_optimal(repeated(), BUDGET, **asked)


def test_a_law_of_one_pass_knows_no_unique_tokens() -> None:
    with pytest.raises(SpecError, match="takes each token once: say max_tokens"):
        compute_optimal(plain(), BUDGET, unique_tokens=1e10)
    with pytest.raises(DataError, match="passes over the unique tokens"):
        predict(repeated(), {"params": 1e9, "tokens": 1e10, "epochs": 0.5})


def test_a_knob_without_a_best_is_no_optimum() -> None:
    """More experts are always better where nothing charges for them: hold them."""
    table = runs().assign(experts=np.tile([1.0, 8.0, 64.0], 12)).drop(columns=["learning_rate", "batch"])
    rising = swept(rate_tokens=0.2, best_batch=1e9)
    with pytest.raises(NotIdentifiedError, match="in no draw there is a best learning_rate and batch"):
        compute_optimal(rising, BUDGET)
    model = ScalingModel("routed_lm", axes={"params": "params", "experts": "experts"}, noise=StudentT())
    with pytest.raises(NotIdentifiedError, match="has no tokens"):
        compute_optimal(fake_fit(model, table), BUDGET)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ({"batch": -1.0}, "batch is held at one positive number, got -1.0"),
        ({"batch": [1e5, 1e6]}, "batch is held at one positive number"),
        ({"learning_rte": 1e-3}, "learning_rate"),
        ({"params": 1e9}, "params follow from the budget"),
    ],
)
def test_what_cannot_be_held_is_refused(at: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        compute_optimal(swept(), BUDGET, at=at)


def test_an_allocation_is_checked_with_its_knobs_held() -> None:
    rising = swept(best_batch=1e9)
    with pytest.raises(NotIdentifiedError):
        check_allocation(rising, BUDGET)
    found = check_allocation(rising, BUDGET, at={"batch": 1e6, "learning_rate": 1e-3})
    assert next(f for f in found if f.check == "interior optimum").status is Status.PASS
    beyond = check_allocation(rising, BUDGET, at={"batch": 1e9, "learning_rate": 1e-3})
    message = next(f.message for f in beyond if f.check == "inside the runs")
    assert "batch" in message
    assert "times the largest fitted" in message


def test_a_limit_of_data_needs_the_knobs_held() -> None:
    with pytest.raises(SpecError, match="hold learning_rate, batch by `at`"):
        compute_optimal(swept(), BUDGET, max_tokens=1e10)
