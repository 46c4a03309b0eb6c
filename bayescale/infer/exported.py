"""Programs kept on disk as JAX exports them: a later process compiles nothing, and does not trace the model either."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Any

import jax
import numpyro

from bayescale.infer.cache import cache_folder

_PACKAGE = Path(__file__).resolve().parents[1]
#: What the code of a program can come from.
_SOURCES = ("core", "laws", "models", "infer")

#: NumPyro's handlers are one stack for all threads: the model of a program is traced by one of them at a time.
_TRACING = RLock()


def exported(function: Callable[..., Any], options: dict[str, int | str], key: str) -> Callable[..., Any]:
    """A compiled function whose traces are kept in the folder of the compilation cache.

    Parameters
    ----------
    function : callable
        Takes any trees of arrays; returns arrays in tuples and dictionaries.
    options : dict
        Options of XLA.
    key : str
        Says which function this is, beyond the package's own code; empty when text cannot say it, and then, as when the cache
        is off, it is compiled in the plain way.
    """
    made: dict[Any, Callable[..., Any] | None] = {}
    plain = jax.jit(function, compiler_options=options)

    def call(*args: Any) -> Any:
        leaves, tree = jax.tree.flatten(args)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return function(*args)
        shapes = tree, tuple(jax.typeof(leaf) for leaf in leaves)
        if shapes not in made:
            with _TRACING:
                if shapes not in made:
                    folder = cache_folder() if key else None
                    path = folder / "programs" / _digest(key, shapes) if folder else None
                    program = _program(function, leaves, tree, path) if path else None
                    if program is None:
                        plain.trace(*args)  # which the call below finds
                    made[shapes] = jax.jit(program.call, compiler_options=options) if program else None
        kept = made[shapes]
        return kept(*leaves) if kept else plain(*args)

    return call


def _program(function: Callable[..., Any], leaves: list[Any], tree: Any, path: Path) -> jax.export.Exported | None:
    """The program that is kept, or a new one; None where JAX cannot export it (a custom call of some device)."""
    try:
        return jax.export.deserialize(bytearray(path.read_bytes()))
    except Exception:  # there is none yet, or a broken one, or one in a format that this JAX does not read
        pass
    try:
        program = jax.export.export(jax.jit(lambda *flat: function(*jax.tree.unflatten(tree, flat))))(*leaves)
        _write(path, bytes(program.serialize()))
    except (ValueError, NotImplementedError):  # JAX cannot export this device, or this operation: it is compiled as it is
        return None
    return program


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all; a folder that cannot be written costs the next process its time, no more."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        os.replace(file.name, path)
    except OSError:
        return


def _digest(key: str, shapes: object) -> str:
    known = (key, shapes, jax.__version__, numpyro.__version__, jax.default_backend(), _code())
    return hashlib.sha256(repr(known).encode()).hexdigest()


@cache
def _code() -> str:
    """Digest of the code that a program is made of."""
    digest = hashlib.sha256()
    for path in sorted(p for part in _SOURCES for p in (_PACKAGE / part).glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
