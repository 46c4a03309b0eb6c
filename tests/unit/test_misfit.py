"""A law that may be off: its misfit adds to the variance, is known near runs that were made, and moves what is bought."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import SpecError
from bayescale.prediction.design_of_runs import joint_normal
from bayescale.prediction.misfit import misfit_factor
from tests.fakes import fake_fit
from tests.unit.test_next_runs import FAR, PILOTS, TABLE, straight


@pytest.fixture(scope="module")
def fit() -> bs.Fit:
    return straight(250)


class TestALawThatMayBeOff:
    def test_the_misfit_adds_to_the_variance_at_the_target(self, fit: bs.Fit) -> None:
        plain, off = (joint_normal(fit, PILOTS, {"params": FAR}, kind="mean", misfit=m) for m in (0.0, 0.05))
        added = (off.targets**2).sum() - (plain.targets**2).sum()
        assert added == pytest.approx(0.05**2, rel=1e-3)
        shared = off.candidates[len(plain.candidates) :].T @ off.targets[len(plain.targets) :]
        assert (np.diff(shared[:, 0]) > 0).all()  # the nearer to the target, the more it has of the misfit there

    def test_runs_near_the_target_are_bought(self, fit: bs.Fit) -> None:
        pilots = pd.DataFrame({"params": [1e7, 1e10, 5e11], "cost": [1.0, 1.0, 60.0]})
        asked = {"target": {"params": FAR}, "budget": 60.0, "kind": "mean"}
        trusting, doubting = (bs.next_runs(fit, pilots, misfit=m, **asked) for m in (0.0, 0.2))
        assert set(trusting["params"]) == {1e7, 1e10}
        assert set(doubting["params"]) == {5e11}
        assert doubting["sd_before"].iloc[0] > trusting["sd_before"].iloc[0]

    def test_near_runs_that_were_made_the_law_is_not_off(self, fit: bs.Fit) -> None:
        points = pd.DataFrame({"params": [1e8, FAR]})
        whole, told = (misfit_factor(points, 0.1, known, 1e-6) for known in (None, TABLE[["params"]]))
        before, after = ((rows**2).sum(axis=0) for rows in (whole, told))
        np.testing.assert_allclose(before, 0.01, rtol=1e-3)
        assert after[0] < 1e-3 * before[0]  # a run stands there
        assert after[1] > 0.3 * before[1]
        joint = joint_normal(fit, {"params": [1e8]}, {"params": FAR}, kind="mean", misfit=0.1, made=True)
        alone = joint_normal(fit, {"params": [1e8]}, {"params": FAR}, kind="mean")
        assert (joint.candidates**2).sum() == pytest.approx((alone.candidates**2).sum(), rel=0.05)

    def test_the_factor_is_that_of_the_covariance(self) -> None:
        points = pd.DataFrame({"params": np.geomspace(1e8, 1e11, 900), "ratio": np.tile([1.0, 20.0, 400.0], 300)})
        rows = misfit_factor(points, 0.05)
        z = np.log(points.to_numpy())
        z = (z - z.mean(axis=0)) / z.std(axis=0)
        exact = 0.05**2 * np.exp(-((z[:, None] - z[None]) ** 2).sum(axis=-1) / 2)
        np.testing.assert_allclose(rows.T @ rows, exact, atol=1e-3 * 0.05**2)

    def test_targets_come_first(self) -> None:
        scattered = pd.DataFrame(np.exp(np.random.default_rng(0).normal(size=(1500, 6))), columns=list("abcdef"))
        some, whole = ((misfit_factor(scattered, 0.1, first=n)[:, -50:] ** 2).sum(axis=0) / 0.01 for n in (0, 50))
        assert some.min() < 0.9
        np.testing.assert_allclose(whole, 1.0, rtol=1e-9)

    def test_a_target_far_from_many_candidates_is_not_lost(self) -> None:
        points = pd.DataFrame({"params": [*np.geomspace(1e7, 1e9, 900), 1e12]})
        rows = misfit_factor(points, 0.1, points.iloc[:20], 1e-4)
        assert (rows[:, -1] ** 2).sum() == pytest.approx(0.01, rel=0.05)

    def test_runs_apart_in_what_no_candidate_varies_are_apart(self) -> None:
        points, made = pd.DataFrame({"params": [1e9, 2e9], "tokens": 1e13}), pd.DataFrame({"params": [1e9], "tokens": [1e9]})
        assert (misfit_factor(points, 0.1, made, 1e-6) ** 2).sum(axis=0)[0] > 0.5 * 0.01

    def test_laws_of_an_ensemble_may_read_unlike_columns(self, fit: bs.Fit) -> None:
        other = fake_fit(
            bs.ScalingModel("power_law", axes={"x": "tokens"}), TABLE.assign(tokens=[1e9, 1e10, 1e11]), draws=250, sd=0.01
        )
        pilots = PILOTS.assign(tokens=20 * PILOTS["params"])
        target = {"params": FAR, "tokens": 20 * FAR}
        for members in ({"a": fit, "b": other}, {"b": other, "a": fit}):
            both = bs.Ensemble(members, {"a": 0.5, "b": 0.5})
            plan = bs.next_runs(both, pilots, target=target, budget=20.0, misfit=0.02)
            assert plan["variance_removed"].iloc[-1] > 0

    def test_a_share_is_one_of_the_response_on_the_plain_scale_too(self) -> None:
        for level in (0.01, 100.0):
            table = TABLE.assign(loss=level * TABLE["loss"])
            noise = bs.Gaussian(on="plain")
            model = bs.ScalingModel("power_law", axes={"x": "params"}, noise=noise)
            plain = fake_fit(model, table, {"A": 2.5 * level, "alpha": 0.2, "sigma": 0.02 * level}, sd=0.0)
            joint = joint_normal(plain, PILOTS, {"params": FAR}, kind="mean", misfit=0.05)
            assert np.sqrt((joint.targets**2).sum()) == pytest.approx(0.05 * joint.center[0], rel=1e-2)

    @pytest.mark.parametrize("misfit", [-0.1, np.nan, True, "5%"])
    def test_what_is_no_misfit_is_refused(self, fit: bs.Fit, misfit: Any) -> None:
        with pytest.raises(SpecError, match="misfit is how far the law may be off"):
            bs.next_runs(fit, PILOTS, target={"params": FAR}, budget=10.0, misfit=misfit)
