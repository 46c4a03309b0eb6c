"""A model meets a table: axes, the reference run, groups, conventions, arrays."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest

from bayescale.core.errors import DataError, SpecError
from bayescale.data.runs import Runs
from bayescale.infer.tree import constant_data
from bayescale.laws import base
from bayescale.laws.param import Param
from bayescale.models.binding import CENTERED_LEVEL, CENTERED_SHAPE, FEW_GROUPS, FEW_LEVEL, Binding, bind, resolve_axes
from bayescale.models.design import bucket
from bayescale.models.pooling import NoPooling, PartialPooling
from bayescale.models.scaling import ScalingModel


def table(n: int = 6) -> pd.DataFrame:
    params = np.logspace(8, 10, n)
    return pd.DataFrame({"params": params, "loss": 2.0 * (params / 1e9) ** -0.2, "family": list("aabbbc" * n)[:n]})


def bound(model: ScalingModel, frame: pd.DataFrame, **kwargs) -> Binding:
    return bind(model, Runs.from_frame(frame, **kwargs))


class TestAxes:
    def test_the_one_covariate_that_varies(self) -> None:
        runs = Runs.from_frame(table().assign(tokens=1e11))
        # flops and tokens a parameter vary too, but are derived
        assert resolve_axes(ScalingModel("power_law"), runs) == {"x": "params"}

    def test_several_that_vary_are_named(self) -> None:
        runs = Runs.from_frame(table().assign(tokens=np.logspace(10, 11, 6)))
        with pytest.raises(SpecError, match=r"axes=\{'x': 'params'\} or axes=\{'x': 'tokens'\}\."):
            resolve_axes(ScalingModel("power_law"), runs)

    def test_recorded_flops_are_a_candidate(self) -> None:
        runs = Runs.from_frame(table().assign(flops=np.logspace(19, 21, 6)))
        with pytest.raises(SpecError, match=r"axes=\{'x': 'params'\} or axes=\{'x': 'flops'\}"):
            resolve_axes(ScalingModel("power_law"), runs)

    def test_none_that_varies(self) -> None:
        with pytest.raises(SpecError, match="no covariate varies"):
            resolve_axes(ScalingModel("power_law"), Runs.from_frame(table().assign(params=1e9)))

    def test_named_ones_are_taken(self) -> None:
        runs = Runs.from_frame(table().assign(tokens=1e11, width=2.0 ** np.arange(6)), columns={"width": "width"})
        assert resolve_axes(ScalingModel("power_law", axes={"x": "width"}), runs) == {"x": "width"}
        assert resolve_axes(ScalingModel("power_law", axes={"x": "flops"}), runs) == {"x": "flops"}

    def test_a_name_that_the_table_lacks_with_the_near_one(self) -> None:
        with pytest.raises(DataError, match=r"'parms'\. Did you mean 'params'"):
            resolve_axes(ScalingModel("power_law", axes={"x": "parms"}), Runs.from_frame(table()))

    def test_a_covariate_of_the_law_that_the_table_lacks(self) -> None:
        with pytest.raises(DataError, match=r"'chinchilla' needs.*\n.*'tokens'"):
            resolve_axes(ScalingModel("chinchilla"), Runs.from_frame(table()))


class TestReference:
    def test_is_the_geometric_mean_of_the_fitted_rows(self) -> None:
        made = bound(ScalingModel("power_law"), table())
        assert made.reference["x"] == pytest.approx(1e9)
        np.testing.assert_allclose(np.exp(made.design.log_x["x"][:6]), table()["params"] / 1e9)

    def test_does_not_depend_on_the_response(self) -> None:
        one = bound(ScalingModel("power_law"), table())
        two = bound(ScalingModel("power_law"), table().assign(loss=lambda t: 7 * t["loss"] ** 2))
        assert one.reference == two.reference
        np.testing.assert_array_equal(one.design.log_x["x"], two.design.log_x["x"])

    def test_levels_without_a_unit_are_in_medians_of_the_response(self) -> None:
        one = bound(ScalingModel("power_law"), table())
        two = bound(ScalingModel("power_law"), table().assign(loss=lambda t: 10 * t["loss"]))
        assert one.response_scale == pytest.approx(table()["loss"].median())
        assert two.prior_of("A")[0] - one.prior_of("A")[0] == pytest.approx(np.log(10))
        assert two.prior_of("alpha") == one.prior_of("alpha")

    def test_levels_in_nats_do_not_see_the_response(self) -> None:
        frame = table().assign(tokens=np.logspace(11, 10, 6))
        one = bound(ScalingModel("chinchilla"), frame)
        two = bound(ScalingModel("chinchilla"), frame.assign(loss=lambda t: 10 * t["loss"]))
        for name in one.params:
            assert one.prior_of(name) == two.prior_of(name)

    def test_a_prior_of_the_users_replaces_the_laws(self) -> None:
        made = bound(ScalingModel("power_law", priors={"alpha": Param.positive(0.05, 0.1)}), table())
        assert made.prior_of("alpha") == pytest.approx((np.log(0.05), 0.1, 0.2))
        assert made.params["alpha"].doc == "exponent of x"


class TestConventions:
    def counted(self, **pooling) -> ScalingModel:
        return ScalingModel("power_law_offset", axes={"x": "params"}, pooling=pooling)

    def frame(self) -> pd.DataFrame:
        return table().assign(counted=["total"] * 3 + ["non-embedding"] * 3, unit=["nats"] * 4 + ["bits"] * 2)

    def test_exponents_are_not_pooled_over_unlike_ones(self) -> None:
        said = r"'alpha'.*params differ.*non-embedding, total.*across_conventions=True"
        with pytest.raises(SpecError, match=said):
            bound(self.counted(alpha=PartialPooling("family")), self.frame(), conventions={"params": "counted"})
        with pytest.raises(SpecError, match=r"'alpha'.*loss differ.*bits, nats"):
            bound(self.counted(alpha=PartialPooling("family")), self.frame(), units={"loss": "unit"})

    def test_unless_the_user_says_so(self) -> None:
        pooling = PartialPooling("family", across_conventions=True)
        made = bound(self.counted(alpha=pooling), self.frame(), conventions={"params": "counted"}, units={"loss": "unit"})
        assert made.levels.keys() == {("family",)}

    def test_amplitudes_and_separate_exponents_may_be(self) -> None:
        model = self.counted(A=PartialPooling("family"), alpha=NoPooling("family"))
        made = bound(model, self.frame(), conventions={"params": "counted"})
        assert made.level("A") is made.level("alpha") is made.levels["family",]

    def test_one_convention_for_all_is_fine(self) -> None:
        made = bound(self.counted(alpha=PartialPooling("family")), self.frame(), conventions={"params": "non-embedding"})
        assert made.level("alpha") is not None

    def test_that_of_a_column_that_is_not_used_does_not_matter(self) -> None:
        frame = self.frame().assign(tokens=1e11)
        made = bound(self.counted(alpha=PartialPooling("family")), frame, conventions={"tokens": "counted"})
        assert made.level("alpha") is not None


class TestArrays:
    def test_rows_are_padded_to_a_power_of_two_and_masked(self) -> None:
        assert [bucket(n) for n in (1, 16, 17, 32, 33, 240)] == [16, 16, 32, 32, 64, 256]
        design = bound(ScalingModel("power_law"), table()).design
        assert design.mask.tolist() == [True] * 6 + [False] * 10
        assert all(leaf.shape[-1] == 16 for leaf in (design.y, design.se, design.log_x["x"], design.slots["A"].rows))

    def test_shapes_depend_on_the_structure_alone(self) -> None:
        """So that a second table of like shape uses the compiled program of the first."""
        model = ScalingModel("power_law", pooling={"A": PartialPooling("family")})
        one, two = (bound(model, table(n)).design for n in (6, 9))
        assert jax.tree.map(np.shape, one) == jax.tree.map(np.shape, two)

    def test_known_errors_are_relative_under_noise_on_logs(self) -> None:
        design = bound(ScalingModel("power_law"), table().assign(loss_sd=0.02)).design
        np.testing.assert_allclose(design.se[:6], 0.02 / table()["loss"])
        assert (design.se[6:] == 0).all()

    def test_shares_average_over_each_group(self) -> None:
        slot = bound(ScalingModel("power_law", pooling={"A": PartialPooling("family")}), table()).design.slots["A"]
        np.testing.assert_allclose(slot.share @ np.arange(16.0), [0.5, 3.0, 5.0])

    def test_levels_of_many_groups_are_centred_and_of_few_less(self) -> None:
        """A group of one run is an offset; an exponent is half-way; a user's word goes before all that."""
        pooling = {"A": PartialPooling("family"), "alpha": PartialPooling("family")}
        for groups, level in ((FEW_GROUPS - 1, FEW_LEVEL), (FEW_GROUPS, CENTERED_LEVEL)):
            labels = [f"f{i // 2}" for i in range(2 * groups - 1)]  # the last is alone
            frame = pd.DataFrame({"params": np.logspace(8, 10, len(labels)), "loss": 2.0, "family": labels})
            slots = bound(ScalingModel("power_law", pooling=pooling), frame).design.slots
            np.testing.assert_array_equal(slots["A"].centered, [level] * (groups - 1) + [0.0])
            np.testing.assert_array_equal(slots["alpha"].centered, [CENTERED_SHAPE] * (groups - 1) + [0.0])
        named = ScalingModel("power_law", pooling={"A": PartialPooling("family", centered=True)})
        np.testing.assert_array_equal(bound(named, frame).design.slots["A"].centered, np.ones(FEW_GROUPS))

    def test_groups_named_apart_that_the_table_lacks(self) -> None:
        model = ScalingModel("power_law", pooling={"A": PartialPooling(("arch", "famly"))})
        with pytest.raises(DataError, match=r"(?s)'arch'.*'famly'\. Did you mean 'family'"):
            bound(model, table())


def test_known_standard_errors_reach_the_model_and_the_tree() -> None:
    frame = pd.DataFrame({"params": [1e8, 1e9, 1e10], "loss": [4.0, 3.0, 2.0], "loss_sd": [0.04, 0.03, 0.04]})
    runs = Runs.from_frame(frame)
    bound = bind(ScalingModel("power_law_offset", axes={"x": "params"}), runs)
    np.testing.assert_allclose(bound.design.se[:3], [0.01, 0.01, 0.02])  # relative, since the noise is on the logarithm
    np.testing.assert_allclose(constant_data(bound, runs)["standard_error"], [0.01, 0.01, 0.02])


def test_a_law_of_its_own_column_does_not_take_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))

    @base.law("of_tokens_only", A=Param.positive(1.0, 1.0, unit="response"))
    def of_tokens_only(tokens, *, A):
        return A / tokens

    runs = Runs.from_frame(pd.DataFrame({"params": [1e8, 1e9], "loss": [4.0, 3.0]}))
    with pytest.raises(DataError, match="'tokens'"):
        bind(ScalingModel(of_tokens_only), runs)


@pytest.mark.parametrize("column", ["run", "chain", "draw", "point"])
def test_groups_may_be_called_what_results_call_their_dimensions(column: str) -> None:
    frame = pd.DataFrame({"params": [1e8, 1e9] * 2, "loss": [4.0, 3.0, 4.1, 3.1], column: ["a", "a", "b", "b"]})
    model = ScalingModel("power_law_offset", axes={"x": "params"}, pooling=PartialPooling(column))
    bound = bind(model, Runs.from_frame(frame, groups=(column,)))
    assert bound.level("alpha").dim == f"{column}_group"
