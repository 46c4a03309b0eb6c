"""One parameter of a law: where it may lie, what is believed of it before the data, and how it varies over groups."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from bayescale.core.errors import SpecError
from bayescale.core.frozen import FrozenMap

Link = Literal["log", "identity", "logit"]

#: Spread between groups expected of a level (amplitude, floor) and of a shape (exponent), on the link scale: the median
#: of the half-normal prior is two thirds of it. Intercepts move from family to family, exponents hardly do.
LEVEL_GROUP_SD, SHAPE_GROUP_SD = 0.5, 0.2


@dataclass(frozen=True)
class Param:
    """A parameter whose prior is normal on its link scale.

    Build one with :meth:`positive`, :meth:`real` or :meth:`fraction`.

    Parameters
    ----------
    link : {"log", "identity", "logit"}
        ``link(parameter) ~ Normal(loc, scale)``.
    loc, scale : float
        Mean and standard deviation of the prior on the link scale.
    unit : str
        Unit of a level (``"nats/token"``), ``"response"`` for a level that is stated in units of the fitted rows' median
        response, and empty for a shape, which has none (an exponent).
    doc : str
        What the parameter means.
    decays : mapping of covariate to exponent, optional
        Says that this amplitude multiplies ``covariate**-exponent``, so that samplers can move it to the scale where the
        data lie, and the paper's constant at covariate = 1 can be derived.
    above : tuple of str, optional
        The levels that add up with this amplitude to the response (``("E",)`` for ``E + A x^-alpha``, none for
        ``A x^-alpha``). Samplers then look for the amplitude where the runs put it, given those.
    scales : bool
        Says that the response is proportional to this level. Samplers then look for it where the runs about the reference put
        it, given all other parameters.
    slope_along : str
        Says that the law's local log-log slope along this covariate, at the reference run, is proportional to this parameter.
        Samplers then move that slope, which the runs tell, rather than the parameter.
    group_sd : float, optional
        Scale of the half-normal prior on the spread between groups, on the link scale; by default 0.5 for a level and
        0.2 for a shape.
    """

    link: Link
    loc: float
    scale: float
    unit: str = ""
    doc: str = ""
    decays: FrozenMap[str, str] = field(default_factory=FrozenMap)
    above: tuple[str, ...] | None = None
    group_sd: float | None = None
    slope_along: str = ""
    scales: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.loc) and math.isfinite(self.scale) and self.scale > 0):
            raise SpecError(f"a prior needs a finite location and a positive scale, got loc={self.loc}, scale={self.scale}")
        if self.group_sd is not None and not self.group_sd > 0:
            raise SpecError(f"group_sd must be positive, got {self.group_sd}")
        object.__setattr__(self, "decays", FrozenMap(self.decays))

    @classmethod
    def positive(
        cls,
        median: float,
        log_sd: float,
        *,
        unit: str = "",
        doc: str = "",
        decays: dict[str, str] | None = None,
        above: tuple[str, ...] | None = None,
        group_sd: float | None = None,
        slope_along: str = "",
        scales: bool = False,
    ) -> Param:
        """A positive parameter, ``LogNormal(log(median), log_sd)``."""
        if not median > 0:
            raise SpecError(f"the median of a positive parameter must be positive, got {median}")
        return cls("log", math.log(median), log_sd, unit, doc, FrozenMap(decays), above, group_sd, slope_along, scales)

    @classmethod
    def real(cls, mean: float, sd: float, *, unit: str = "", doc: str = "", group_sd: float | None = None) -> Param:
        """A parameter of either sign, ``Normal(mean, sd)``."""
        return cls("identity", mean, sd, unit, doc, group_sd=group_sd)

    @classmethod
    def fraction(cls, median: float, logit_sd: float, *, doc: str = "", group_sd: float | None = None) -> Param:
        """A parameter between 0 and 1, normal on the logit scale about ``median``."""
        if not 0 < median < 1:
            raise SpecError(f"the median of a fraction must lie between 0 and 1, got {median}")
        return cls("logit", math.log(median / (1 - median)), logit_sd, "", doc, group_sd=group_sd)

    @property
    def spread(self) -> float:
        """Scale of the prior on the spread between groups, on the link scale."""
        if self.group_sd is not None:
            return self.group_sd
        return LEVEL_GROUP_SD if self.unit else SHAPE_GROUP_SD

    def with_prior(self, other: Param) -> Param:
        """This parameter with the prior of ``other``; what it means (unit, doc, decays) stays."""
        if other.link != self.link:
            raise SpecError(f"a prior on the {other.link} scale cannot replace one on the {self.link} scale")
        unit = other.unit or self.unit
        return replace(self, loc=other.loc, scale=other.scale, unit=unit, group_sd=other.group_sd or self.group_sd)
