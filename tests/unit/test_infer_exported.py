"""Programs kept on disk: a later process does not run Python of the function again."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from bayescale.infer import exported as module
from bayescale.infer.cache import VARIABLE
from bayescale.infer.exported import exported


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


def counted() -> tuple[list[int], object]:
    traced: list[int] = []

    def function(tree, y):
        traced.append(1)
        return {"sum": tree["x"] + y, "product": (tree["x"] * y,)}

    return traced, function


TREE = {"x": np.arange(3.0)}


def test_it_is_traced_once_for_all_that_share_the_folder(folder: Path) -> None:
    traced, function = counted()
    first = exported(function, {}, "a")(TREE, 2.0)
    again = exported(function, {}, "a")(TREE, 3.0)
    np.testing.assert_array_equal(first["product"][0], [0, 2, 4])
    np.testing.assert_array_equal(again["sum"], [3, 4, 5])
    assert len(traced) == 1


def test_other_shapes_keys_and_code_are_other_programs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traced, function = counted()
    exported(function, {}, "a")(TREE, 2.0)
    exported(function, {}, "a")({"x": np.arange(4.0)}, 2.0)
    exported(function, {}, "b")(TREE, 2.0)
    monkeypatch.setattr(module, "_code", lambda: "changed")
    exported(function, {}, "a")(TREE, 2.0)
    assert len(traced) == 4


@pytest.mark.parametrize("content", [b"", b"not a program"])
def test_a_broken_file_is_made_anew(folder: Path, content: bytes) -> None:
    traced, function = counted()
    exported(function, {}, "a")(TREE, 2.0)
    (kept,) = (folder / "programs").iterdir()
    kept.write_bytes(content)
    np.testing.assert_array_equal(exported(function, {}, "a")(TREE, 2.0)["sum"], [2, 3, 4])
    exported(function, {}, "a")(TREE, 2.0)
    assert len(traced) == 2


def test_what_no_text_identifies_is_not_kept(folder: Path) -> None:
    _, function = counted()
    np.testing.assert_array_equal(exported(function, {}, "")(TREE, 2.0)["sum"], [2, 3, 4])
    assert not (folder / "programs").exists()


def test_a_folder_that_cannot_be_written_does_no_harm(folder: Path) -> None:
    (folder / "programs").touch()
    _, function = counted()
    np.testing.assert_array_equal(exported(function, {}, "a")(TREE, 2.0)["sum"], [2, 3, 4])


def test_it_is_plain_when_the_cache_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "off")
    np.testing.assert_array_equal(exported(lambda x: jnp.sin(x), {}, "a")(np.zeros(2)), [0, 0])


def test_a_program_that_cannot_be_exported_runs_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("a custom call")

    monkeypatch.setattr(module.jax.export, "export", refuse)
    _, function = counted()
    np.testing.assert_array_equal(exported(function, {}, "a")(TREE, 2.0)["sum"], [2, 3, 4])
    assert not (folder / "programs").exists()


@pytest.mark.parametrize("key", ["a", ""], ids=["kept on disk", "compiled as it is"])
def test_one_thread_traces_at_a_time(folder: Path, key: str) -> None:
    """NumPyro's handlers are one stack for all threads: two models that are traced at once are mixed up."""
    tracing, most = [0], []

    def slow(x):
        tracing[0] += 1
        most.append(tracing[0])
        time.sleep(0.05)
        tracing[0] -= 1
        return 2.0 * x

    programs = [exported(partial(slow), {}, key and f"{key}{i}") for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda program: float(program(np.float64(3.0))), programs))
    assert found == [6.0] * 4
    assert most == [1] * 4
