"""The meta-analysis of published fits: its formula, which studies it uses, and that it knows when it has too few."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from bayescale.data.datasets import load_dataset
from bayescale.laws.base import get_law, list_laws
from bayescale.models import literature
from bayescale.models.literature import literature_priors, literature_table, population
from bayescale.models.studies import PUBLISHED


def test_only_chinchilla_has_three_independent_studies():
    having = {name: sorted(literature_priors(get_law(name))) for name in list_laws().index}
    assert {name for name, priors in having.items() if priors} == {"chinchilla"}
    assert having["chinchilla"] == ["alpha", "beta"]


def test_the_priors_lie_among_the_studies_and_are_narrower_than_the_weak_ones():
    law = get_law("chinchilla")
    table = literature_table(law)
    for name, prior in literature_priors(law).items():
        values = table[table["used"] & (table["parameter"] == name)]["value"]
        assert values.min() < np.exp(prior.loc) < values.max()
        assert 0.15 < prior.scale < law.params[name].scale
        # What was found is not surprising under what is now believed.
        z = (np.log(values) - prior.loc) / prior.scale
        assert np.abs(z).max() < 2
        assert prior.link == "log" and prior.unit == "" and prior.doc == law.params[name].doc


def test_hoffmann_and_besiroglu_are_one_study():
    table = literature_table(get_law("chinchilla"))
    runs = table[(table["study"] == "hoffmann2022") & (table["parameter"] == "alpha")]
    assert len(runs) == 3
    assert runs["used"].sum() == 1
    used = runs[runs["used"]].iloc[0]
    assert used["cite"] == "besiroglu2024"
    assert used["value"] == pytest.approx(0.34781)
    assert used["log_se"] == pytest.approx(0.0154 / 0.34781, rel=1e-3)
    assert runs[~runs["used"]]["reason"].str.contains("same runs").all()


def test_several_corpora_of_one_study_count_once():
    table = literature_table(get_law("chinchilla"))
    used = table[table["used"] & (table["parameter"] == "alpha")]
    assert (used["study"] == "gadre2024").sum() == 3
    assert used["study"].nunique() == 3


def test_another_convention_has_too_few_studies():
    law = get_law("chinchilla")
    assert literature_priors(law, {"params": "total"}) == literature_priors(law)
    for word in ("non-embedding", "non_embedding", "params_kind"):
        assert literature_priors(law, {"params": word}) == {}
    table = literature_table(law, {"params": "non_embedding"})
    dense = table[table["fit"] == "Krajewski dense"]
    assert dense["reason"].str.contains("fewer than 3").all()
    assert table[table["study"] == "muennighoff2023"]["reason"].str.contains("counts total params").all()


def test_a_study_can_be_left_out():
    law = get_law("chinchilla")
    assert literature_priors(law, without=["hoffmann2022"]) == {}
    table = literature_table(law, without=["gadre2024"])
    assert set(table[table["study"] == "gadre2024"]["reason"]) == {"left out on request"}


def test_a_fourth_study_would_count(monkeypatch):
    extra = literature.Published(
        "chinchilla", "other", "other", "other", "", {"alpha": "alpha"}, "total", values={"alpha": 0.30}
    )
    before = literature_priors(get_law("chinchilla"))
    monkeypatch.setattr(literature, "PUBLISHED", (*PUBLISHED, extra))
    after = literature_priors(get_law("chinchilla"))
    assert after["alpha"].scale < before["alpha"].scale
    assert after["beta"] == before["beta"]


def test_a_law_without_published_fits_has_an_empty_table():
    table = literature_table(get_law("kaplan_nd"))
    assert table.empty
    assert table["used"].dtype == bool
    assert literature_priors(get_law("kaplan_nd")) == {}


def test_laws_of_one_variable_say_why_they_have_none():
    table = literature_table(get_law("power_law"))
    assert not table["used"].any()
    assert set(table["x"]) == {"params", "tokens", "flops"}
    assert (table["value"] > 0).all()
    assert table["reason"].str.contains("does not say what its x is").all()


def test_every_fit_that_is_referred_to_is_in_the_table():
    printed = load_dataset("published_laws")
    there = set(zip(printed["law"], printed["form"], printed["parameter"], strict=True))
    wanted = {(i.fit, i.form, p) for i in PUBLISHED if i.form for p in i.exponents.values()}
    assert wanted <= there
    for item in PUBLISHED:
        params = get_law(item.law).params
        assert all(not params[name].unit for name in item.exponents)


def test_standard_errors_are_read_from_intervals():
    printed = load_dataset("published_laws")
    besiroglu = printed[(printed["law"] == "Besiroglu corrected Chinchilla") & (printed["parameter"] == "alpha")].iloc[0]
    from_interval = literature._log_se(besiroglu.where(besiroglu.index != "std_error"))
    assert from_interval == pytest.approx(np.log(0.373 / 0.317) / (2 * stats.norm.ppf(0.975)), rel=1e-5)
    approach = printed[printed["law"] == "Hoffmann Approach 2 (IsoFLOP profiles)"].iloc[0]
    assert literature._log_se(approach) == pytest.approx(np.log(0.534 / 0.462) / (2 * stats.norm.ppf(0.9)), rel=1e-5)


# --- the formula -----------------------------------------------------------------------------------------------------------


def test_population_against_brute_integration():
    y, se, loc, scale, between = np.array([-1.0, -1.3, -0.7]), np.array([0.05, 0.2, 0.1]), -1.1, 0.4, 0.3

    tau, mu = np.meshgrid(np.linspace(0, 2.0, 801), np.linspace(-3.5, 1.5, 1001))
    likelihood = stats.norm.pdf(y, mu[..., None], np.hypot(se, tau[..., None])).prod(axis=-1)
    density = likelihood * stats.norm.pdf(mu, loc, scale) * stats.halfnorm.pdf(tau, scale=between)

    def expected(value):
        return integrate.simpson(integrate.simpson(value * density)) / integrate.simpson(integrate.simpson(density))

    mean = expected(mu)
    sd = np.sqrt(expected(tau**2 + (mu - mean) ** 2))
    assert population(y, se, loc, scale, between) == pytest.approx((mean, sd), rel=1e-4)


def test_population_of_many_studies_is_their_spread():
    rng = np.random.default_rng(3)
    y = rng.normal(-1.2, 0.25, 400) + rng.normal(0, 0.05, 400)
    mean, sd = population(y, np.full(400, 0.05), loc=-1.0, scale=0.4)
    assert mean == pytest.approx(y.mean(), abs=0.003)
    assert sd == pytest.approx(np.sqrt(y.var() - 0.05**2), rel=0.03)


def test_population_of_no_information_is_the_weak_prior():
    mean, sd = population(np.array([0.0]), np.array([1e4]), loc=-1.0, scale=0.4)
    assert mean == pytest.approx(-1.0)
    assert sd == pytest.approx(np.hypot(0.4, 0.3), rel=1e-2)


def test_agreeing_studies_do_not_make_it_certain():
    """Three that agree by chance leave the spread between studies open: the plug-in estimate of it would be 0."""
    sd = population(np.full(3, -1.0), np.full(3, 0.03), loc=-1.0, scale=0.4)[1]
    assert sd > 0.08
