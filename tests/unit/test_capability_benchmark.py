"""The benchmark of capabilities: its blocks have the sizes that are claimed, hide what is forecast, and score as said."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, truncnorm

from benchmarks.capabilities import protocols
from benchmarks.capabilities.protocols import COLUMNS, LARGE, Block
from benchmarks.capabilities.rivals import components, logistic
from benchmarks.capabilities.scoring import Draws, Normal, differences, means, score
from benchmarks.capabilities.skills import Grid, Skills

needs_tables = pytest.mark.skipif(not os.environ.get(protocols.FOLDER), reason=protocols.UNSET)

COUNTS = {
    "word_unscrambling": (44, 19),
    "parsinlu_qa": (40, 18),
    "arithmetic_3digit_subtraction": (30, 33),
    "arithmetic_2digit_multiplication": (30, 33),
    "gsm8k, direct": (45, 28),
    "gsm8k, cot": (47, 28),
    "gsm8k, cot_sc_maj5": (47, 28),
}


def hides_what_it_asks(block: Block) -> None:
    assert "accuracy" not in block.test
    assert list(block.train) == list(COLUMNS)
    asked = set(zip(block.test.model, block.test.series, strict=True))
    assert len(asked) == len(block.test) == len(block.truth)
    assert not asked & set(zip(block.train.model, block.train.series, strict=True))
    assert np.isfinite(block.truth).all() and ((block.truth >= 0) & (block.truth <= 1)).all()


@needs_tables
def test_targets_have_the_counts_of_the_protocol_and_are_cut_by_compute() -> None:
    blocks = list(protocols.targets())
    found = pd.concat([block.counts for block in blocks])
    assert {name: (row.shown, row.held) for name, row in found.iterrows()} == COUNTS
    for block in blocks:
        hides_what_it_asks(block)
        # What is shown of a test model is its standard benchmarks.
        of_tested = block.train[block.train.model.isin(block.test.model)]
        assert set(of_tested.series) <= set(block.benchmarks)
        assert ("gsm8k" in block.benchmarks) == (block.name == "emergent")
        shown = block.train[block.train.series.isin(block.targets)]
        unknown = block.test.flops.isna()
        assert shown.flops.max() < block.test.flops.min()
        assert set(block.test.model[unknown]) == (set(LARGE) if block.name == "gsm8k" else set())


@needs_tables
def test_a_choice_sees_no_target_of_a_test_model() -> None:
    hidden = {
        (model, series)
        for block in protocols.targets()
        for model, series in zip(block.test.model, block.test.series, strict=True)
    }
    names = []
    for block in protocols.inside():
        hides_what_it_asks(block)
        names.append(block.name)
        for part in (block.train, block.test):
            # As a benchmark GSM8K is known of all models; as a target of an emergent task's protocol it is none.
            seen = set(zip(part.model, part.series, strict=True))
            assert not seen & hidden
        assert len(block.test)
    assert names == ["inside", "inside emergent", "inside arithmetic", "inside gsm8k"]


@needs_tables
@pytest.mark.parametrize("folds", [None, protocols.GROUPS])
def test_families_show_the_smallest_and_hide_every_larger_model_once(folds: int | None) -> None:
    blocks = list(protocols.families(folds))
    for name, seen, families, models in (("one seen", 1, 33, 84), ("two seen", 2, 23, 51)):
        chosen = [block for block in blocks if block.name == name]
        hidden = pd.concat([block.test for block in chosen])
        assert hidden.family.nunique() == families and hidden.model.nunique() == models
        assert not hidden.duplicated(["model", "series"]).any()
        for block in chosen:
            hides_what_it_asks(block)
            assert not block.train.model.isin(block.test.model).any()
            left = block.train[block.train.family.isin(block.test.family)]
            assert (left.groupby("family").model.nunique() == seen).all()
            largest = left.groupby("family").params.max()
            assert (block.test.params >= block.test.family.map(largest)).all()


@needs_tables
def test_the_tokens_that_the_source_has_wrong_are_put_right() -> None:
    table = protocols.standard(["mmlu"]).set_index("model")
    assert table.tokens["cerebras/btlm-3b-8k-base"] == pytest.approx(6.27e11)
    assert table.flops["cerebras/btlm-3b-8k-base"] == pytest.approx(1.1286e22)


def test_bundled_blocks_hide_the_largest_model_under_all_its_names() -> None:
    blocks = {block.name: block for block in protocols.bundled()}
    for block in blocks.values():
        hides_what_it_asks(block)
        assert not block.train.model.isin(block.test.model).any()
    held = set(blocks["benchmark_accuracy"].test.model)
    assert {"GPT-3 175B", "LLaMA 65B", "Qwen 72B", "PaLM 540B"} <= held and len(held) == 25
    emergent = blocks["emergent_tasks"].train
    assert "GPT-3 X-Large (few-shot)" not in set(emergent.model)
    # Half a scale below chance no score is a guess: that way of asking is a task of its own, without a floor.
    hyperbaton = emergent[emergent.series.str.startswith("BBH Hyperbaton")].drop_duplicates("series").set_index("task").chance
    assert sorted(hyperbaton) == [0.0, 0.5] and hyperbaton["BBH Hyperbaton"] == 0.5


def block_of(truth: list[float], chance: float) -> Block:
    cell = {"family": "F", "task": "t", "series": "t", "chance": chance, "n_items": np.nan}
    test = pd.DataFrame([cell | {"model": f"F-{i}"} for i in range(len(truth))])
    return Block("b", "", test.iloc[:0], test, np.array(truth), (), ("t",))


def test_scores_of_a_known_case() -> None:
    block = block_of([0.6, 0.9], chance=0.25)
    found = score(block, Normal(np.array([0.5, 0.5]), np.array([0.1, 0.1]))).assign(method="m")
    assert found["sq. error"].to_numpy() == pytest.approx([(0.1 / 0.75) ** 2, (0.4 / 0.75) ** 2])
    assert found["MAE"].to_numpy() == pytest.approx([10, 40])
    expected = truncnorm(-5, 5, loc=0.5, scale=0.1).logpdf([0.6, 0.9])
    assert found["log score"].to_numpy() == pytest.approx(expected)
    assert found["by quantiles"].to_numpy() == pytest.approx(expected, abs=1e-3)
    assert found["cov 50"].tolist() == [0, 0] and found["cov 80"].tolist() == [100, 0]
    assert found["width 90"].to_numpy() == pytest.approx(20 * norm.ppf(0.95), abs=1e-3)
    assert means(found, "series").loc[("pooled over cells", "m"), "MAE"] == pytest.approx(25)


def test_draws_score_as_the_normal_that_they_come_from() -> None:
    block = block_of([0.55, 0.4], chance=0.0)
    law = Normal(np.array([0.5, 0.5]), np.array([0.05, 0.08]))
    drawn = Draws(np.random.default_rng(0).normal(law.center, law.sd, size=(20000, 2)))
    ours, theirs = score(block, drawn), score(block, law)
    for name, within in {"sq. error": 2e-4, "MAE": 0.2, "log score": 0.1, "by quantiles": 0.05, "width 90": 0.6}.items():
        assert ours[name].to_numpy() == pytest.approx(theirs[name].to_numpy(), abs=within), name


def test_rivals_recover_their_own_law() -> None:
    rng = np.random.default_rng(1)
    x = np.linspace(-3, 3, 60)[:, None]
    y = 0.05 + 0.95 / (1 + np.exp(-(2 * x[:, 0] - 1)))
    forecast, fit, number = logistic(x[:40], y[:40], x[40:])
    assert number == 3 and fit == pytest.approx(y[:40], abs=1e-3) and forecast == pytest.approx(y[40:], abs=5e-3)
    # One component explains these scores, also where they are missing.
    scores = 0.5 + x @ np.array([[0.05, 0.04, 0.03]])
    gaps = np.where(rng.random(scores.shape) < 0.1, np.nan, scores)
    rows = np.arange(60) < 40
    assert np.abs(np.corrcoef(components(gaps, rows, 1)[:, 0], x[:, 0])[0, 1]) > 0.9999


def test_the_gradient_of_the_skills_is_that_of_their_objective() -> None:
    rng = np.random.default_rng(2)
    scores = np.where(rng.random((9, 4)) < 0.2, np.nan, rng.random((9, 4)))
    grid = Grid(scores, np.array([0.25, 0.0, 0.5, 0.0]), np.arange(9) % 3, rng.standard_normal((9, 2)))
    for rank in (None, 2):
        law = Skills(grid, rank, 1e-3)
        theta = 0.5 * rng.standard_normal(sum(int(np.prod(shape)) for shape in law.shapes.values()))
        steps = 1e-6 * np.eye(len(theta))
        numeric = [(law.objective(theta + s)[0] - law.objective(theta - s)[0]) / 2e-6 for s in steps]
        assert law.objective(theta)[1] == pytest.approx(np.array(numeric), abs=1e-6)


def test_methods_are_compared_cell_by_cell_and_models_are_what_is_independent() -> None:
    scores = {"best": [3.0, 3.0, 1.0, 1.0], "other": [2.0, 2.0, 2.0, 0.0]}
    points = pd.concat(
        [pd.DataFrame({"model": ["a", "a", "b", "b"], "method": name, "log score": values}) for name, values in scores.items()]
    )
    found = differences(points)
    assert found.loc["best"].tolist() == [2.0, 0.0, 0.0]
    # Deviations of -.5, -.5, 1.5 and -.5 from the mean of -.5: sums of -1 and 1 by model, over four cells.
    np.testing.assert_allclose(found.loc["other"], [1.5, -0.5, np.sqrt(2 * 2) / 4])
