"""What a law is, the decorator that makes one, and the registry that finds it again by name."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import CodeType
from typing import Any

import pandas as pd

from bayescale.core.errors import SpecError, unknown
from bayescale.core.frozen import FrozenMap
from bayescale.laws.param import Param

#: Mean function of a law: ratios of the covariates to the reference run in, response out; all arrays broadcast.
LawFunction = Callable[..., Any]

_REGISTRY: dict[str, Law] = {}


@dataclass(frozen=True, eq=False)
class Law:
    """A scaling law: a pure function of covariate ratios, with a prior for each of its parameters.

    Parameters
    ----------
    name : str
        Name it is found by.
    covariates : tuple of str
        Positional arguments of ``function``: ratios to the reference run.
    params : mapping of str to Param
        Keyword-only arguments of ``function``, in its order.
    function : callable
        ``function(*covariates, **params)`` gives the response; arrays broadcast.
    response : str
        What the law predicts: ``"loss"``, ``"error"``, ``"accuracy"`` …
    cite : str
        Bib key of its source (``docs/references.bib``).
    digest : str
        Digest of the source text, by which a saved fit knows the law again.
    absolute : tuple of str
        Covariates that the function takes as they are, such as a number of epochs, not as ratios.
    """

    name: str
    covariates: tuple[str, ...]
    params: FrozenMap[str, Param]
    function: LawFunction
    response: str = "loss"
    cite: str = ""
    digest: str = ""
    absolute: tuple[str, ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Response at covariate ratios ``args`` under parameters ``kwargs``."""
        return self.function(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Law) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.name, self.digest, self.covariates, self.params, self.absolute

    @property
    def doc(self) -> str:
        """First line of what its author says about it."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]


def law(
    name: str | None = None, *, cite: str = "", response: str = "loss", absolute: tuple[str, ...] = (), **params: Param
) -> Callable[[LawFunction], Law]:
    """Make a :class:`Law` of a function and register it under its name.

    Positional arguments of the function are covariates, as ratios to the reference run; keyword-only arguments are
    parameters, each with a :class:`Param` of the same name.

    Parameters
    ----------
    name : str, optional
        Name to register; by default the function's. A law of the same name is replaced (a notebook cell run again).
    cite, response : str
        Bib key of the source; what the law predicts.
    absolute : tuple of str
        Covariates that the function takes as they are, not as ratios to the reference run.
    **params : Param
        Prior of each keyword-only argument.

    Raises
    ------
    SpecError
        When priors and keyword-only arguments do not match, or the function has no covariate.

    Examples
    --------
    >>> from bayescale import Param, law
    >>> @law(response="loss", A=Param.positive(1.0, 1.0, unit="response"), alpha=Param.positive(0.3, 0.5))
    ... def my_power_law(x, *, A, alpha):
    ...     return A * x**-alpha
    >>> my_power_law.covariates
    ('x',)
    """

    def make(function: LawFunction) -> Law:
        made = replace(
            _build(function, name or str(getattr(function, "__name__", "law")), params, cite, response), absolute=absolute
        )
        if strange := [c for c in absolute if c not in made.covariates]:
            raise SpecError(f"law {made.name!r}: absolute: {unknown('covariate', strange[0], made.covariates)}")
        _REGISTRY[made.name] = made
        return made

    return make


def _build(function: LawFunction, name: str, params: Mapping[str, Param], cite: str, response: str) -> Law:
    arguments = inspect.signature(function).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    covariates = tuple(a.name for a in arguments if a.kind in positional)
    keywords = [a.name for a in arguments if a.kind is inspect.Parameter.KEYWORD_ONLY]
    faults = [f"parameter {k!r} of the function has no prior" for k in keywords if k not in params]
    faults += [f"prior {k!r} is no keyword-only argument of the function" for k in params if k not in keywords]
    faults += [f"prior {k!r} is a {type(p).__name__}, not a Param" for k, p in params.items() if not isinstance(p, Param)]
    if not covariates:
        faults.append("it has no positional argument, so no covariate")
    for key, param in params.items():
        if isinstance(param, Param):
            faults += [f"{key!r} decays along {c!r}, which is no covariate" for c in param.decays if c not in covariates]
            faults += [f"{key!r} decays with {e!r}, which is no parameter" for e in param.decays.values() if e not in keywords]
            others = [k for k in keywords if k != key]
            faults += [f"{key!r} is above {o!r}, which is no other parameter" for o in param.above or () if o not in others]
    if faults:
        raise SpecError(f"law {name!r} is not well formed:\n" + "\n".join(f"  - {f}" for f in faults))
    ordered = FrozenMap({k: params[k] for k in keywords})
    return Law(name, covariates, ordered, function, response, cite, _digest(function))


def _digest(function: LawFunction) -> str:
    """Digest of the function's code: its source where there is one, its byte code where not (``exec``, some consoles).

    Numbers and words that it takes from outside count too: a notebook's constant may change without its law.
    """
    try:
        text = re.sub(r"\s+", " ", inspect.getsource(function))
    except (OSError, TypeError):
        code = getattr(inspect.unwrap(function), "__code__", None)
        text = _code_text(code) if code is not None else repr(function)
    return hashlib.sha256((text + _taken(function)).encode()).hexdigest()[:16]


def _taken(function: LawFunction) -> str:
    """Constants that the function takes from around it, by name; empty where it takes none."""
    try:
        outer = inspect.getclosurevars(inspect.unwrap(function))
    except (TypeError, ValueError):
        return ""
    plain = (bool, int, float, str, tuple)
    found = {name: value for name, value in {**outer.globals, **outer.nonlocals}.items() if isinstance(value, plain)}
    return repr(sorted(found.items())) if found else ""


def _code_text(code: CodeType) -> str:
    """Byte code, constants and names; the code of inner functions too, whose own ``repr`` holds an address in memory."""
    constants = [_code_text(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return repr((code.co_code, constants, code.co_names))


def get_law(id: str) -> Law:  # noqa: A002 - the public name of the argument
    """The registered law of that name.

    Raises
    ------
    SpecError
        Naming the near and the valid names.
    """
    _load_catalogue()
    if id not in _REGISTRY:
        raise SpecError(unknown("law", id, _REGISTRY) + " A law of your own is registered by running its @law definition.")
    return _REGISTRY[id]


def list_laws() -> pd.DataFrame:
    """One row a registered law: name, covariates, parameters, response, source, what it says."""
    _load_catalogue()
    rows = [
        {
            "law": item.name,
            "covariates": ", ".join(item.covariates),
            "parameters": ", ".join(item.params),
            "response": item.response,
            "cite": item.cite,
            "doc": item.doc,
        }
        for item in _REGISTRY.values()
    ]
    return pd.DataFrame(rows).set_index("law")


def _load_catalogue() -> None:
    """Register the built-in laws (their modules import jax, so not before a law is asked for)."""
    from bayescale.laws import catalogue  # noqa: F401 - imported for its registrations
