"""A report of everything that one can show, of fits built from known draws, and its page as a reader's program sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd

import bayescale as bs
from bayescale.evaluate.scores import score
from tests.fakes import fake_fit

#: A family whose name would be code where names are not escaped; the quotes would end an attribute.
HOSTILE = "<script>alert(1)</script>\" onload='alert(2)"
FAMILIES = {"Llama": 1.0, HOSTILE: 1.06, "Pythia $a$ & co": 1.1}
AT: dict[str, Any] = {"params": [3e10], "family": [HOSTILE]}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@cache
def hostile_fit() -> bs.Fit:
    """Three families that share a floor of 1.6; two have names that are no plain words."""
    rows = [
        {"family": family, "params": n, "loss": 1.6 + factor * (n / 1e9) ** -0.3}
        for family, factor in FAMILIES.items()
        for n in np.geomspace(1e8, 1e10, 5)
    ]
    pooling = {"A": bs.PartialPooling("family"), "alpha": bs.PartialPooling("family")}
    model = bs.ScalingModel("power_law_offset", axes={"x": "params"}, pooling=pooling)
    made = fake_fit(model, pd.DataFrame(rows))
    scale = made.binding.reference["x"] / 1e9
    given: dict[str, Any] = {"E": 1.6, "A": {f: v * scale**-0.3 for f, v in FAMILIES.items()}, "alpha": 0.3}
    return fake_fit(model, pd.DataFrame(rows), given, sd=0.005, draws=300)


def made_backtest(model: bs.ScalingModel) -> bs.Backtest:
    """A backtest of sixty runs, calibrated."""
    rng = np.random.default_rng(0)
    made = np.exp(rng.normal(0.7, 0.03, (400, 60)))
    points = score(made, np.exp(rng.normal(0.7, 0.03, 60))).assign(
        cutoff=1e9, distance=np.log(3.0), converged=True, row=np.arange(60)
    )
    return bs.Backtest(model, points, "params")


def next_runs_table() -> pd.DataFrame:
    """What ``next_runs`` gives, in its columns."""
    rows = {"candidate": [2, 0], "params": [2e10, 1e10], "family": [HOSTILE, HOSTILE], "cost": [4.0, 2.0]}
    return pd.DataFrame({**rows, "sd_before": [0.02, 0.01], "sd_after": [0.01, 0.008], "variance_removed": [0.75, 0.84]})


@cache
def hostile_report() -> bs.DecisionReport:
    """A report of that fit with everything on it, made once for all tests."""
    return full_report(hostile_fit())


def full_report(fit: bs.Fit, target: str = "loss<=2.1") -> bs.DecisionReport:
    """A report with a backtest, a crossover and next runs."""
    crossed = bs.crossover(fit.select(family="Llama"), fit.select(family=HOSTILE), along="params")
    return bs.decision_report(
        fit,
        AT,
        target=target,
        backtest=made_backtest(fit.model),
        crossover=crossed,
        next_runs=next_runs_table(),
        title=f"Report on {HOSTILE}",
    )


@dataclass
class Element:
    """An element of a page, with what it says."""

    tag: str
    attributes: dict[str, str]
    parents: tuple[str, ...]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """A page taken apart."""

    html: str
    elements: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[Element] = []
        self.feed(self.html)
        self.close()
        assert not self._open, f"never closed: {[e.tag for e in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = Element(tag, {name: value or "" for name, value in attrs}, tuple(e.tag for e in self._open))
        self.elements.append(found)
        if tag not in VOID:
            self._open.append(found)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1].tag == tag, f"</{tag}> closes {self._open[-1:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, tag: str) -> list[Element]:
        """Every element of that tag."""
        return [element for element in self.elements if element.tag == tag]

    @property
    def text(self) -> str:
        """What the page says, spaces apart."""
        return " ".join(self.all("body")[0].text.split())
