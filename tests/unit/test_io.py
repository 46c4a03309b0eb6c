"""A saved fit: what comes back, what others see in the file, and files that are none of ours."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale.core.errors import SavedFileError, SpecError
from bayescale.data.runs import Runs
from bayescale.infer import io
from bayescale.infer.fit import Fit
from bayescale.infer.io import load, save
from bayescale.laws import base
from bayescale.laws.base import law, list_laws
from bayescale.laws.param import Param
from bayescale.models.noise import StudentT
from bayescale.models.pooling import PartialPooling
from bayescale.models.scaling import ScalingModel
from tests.fakes import fake_fit


def table() -> pd.DataFrame:
    """Labels of every kind: other alphabets, truth values, numbers, empty cells, names that netCDF refuses."""
    params = np.logspace(8, 10, 6)
    return pd.DataFrame(
        {
            "params": params,
            "loss": 1.8 + 0.5 * (params / 1e9) ** -0.3,
            "loss_sd": 0.01,
            "step": np.arange(6.0),
            "seed": [1, 2] * 3,
            "family": ["Ω-net", "a b", "nan"] * 2,
            "tuned": [True, False] * 3,
            "# experts": list("xyxyxy"),
            "% data ": list("ppqqrr"),
            "coordinates": list("uvwuvw"),
            "half empty": ["x", None, np.nan] * 2,
        }
    )


def model(**kwargs) -> ScalingModel:
    nested = PartialPooling(("tuned", "family"))
    return ScalingModel("power_law_offset", axes={"x": "params"}, pooling={"A": nested}, **kwargs)


@pytest.fixture(scope="module")
def fitted() -> Fit:
    runs = Runs.from_frame(table(), groups=("# experts",), units={"loss": "bits"}, conventions={"params": "non-embedding"})
    out = fake_fit(model(reasons=("because",)), runs, chains=2, draws=10)
    out.tree["prior_predictive"]["loss"][0, 0, :3] = [np.inf, -np.nan, -0.0]
    out.tree.attrs |= {"seed": 2**127 + 1, "interrupted": 1}
    return out


@pytest.fixture
def path(fitted: Fit, tmp_path: Path) -> Path:
    return save(fitted, tmp_path / "fit.nc")


def assert_same(a: xr.DataTree, b: xr.DataTree) -> None:
    """Equal to the last bit, in the same order and of the same types."""
    assert [node.path for node in a.subtree] == [node.path for node in b.subtree]
    assert a.attrs == b.attrs
    assert [type(v) for v in a.attrs.values()] == [type(v) for v in b.attrs.values()]
    for node in a.subtree:
        one, two = node.to_dataset(inherit=False), b[node.path].to_dataset(inherit=False)
        assert one.identical(two), node.path
        assert list(one.variables) == list(two.variables)
        assert list(one.sizes.items()) == list(two.sizes.items())
        for name in one.variables:
            x, y = one[name].to_numpy(), two[name].to_numpy()
            assert x.dtype == y.dtype, f"{node.path}/{name}"
            assert x.dtype == object or x.tobytes() == y.tobytes(), f"{node.path}/{name}"


def test_what_comes_back_is_what_was_saved(fitted: Fit, path: Path) -> None:
    back = load(path)
    assert_same(fitted.tree, back.tree)
    assert back.model == fitted.model
    assert back.model.reasons == ("because",)
    pd.testing.assert_frame_equal(back.data.table, fitted.data.table)
    for name in ("response", "groups", "units", "conventions", "notes", "digest"):
        assert getattr(back.data, name) == getattr(fitted.data, name), name
    assert back.data.notes == ("half empty left out as a group column: 4 of 6 rows have no label",)
    assert back.binding.reference == fitted.binding.reference
    assert repr(back) == repr(fitted)


def test_a_loaded_fit_saves_the_same_again(fitted: Fit, path: Path, tmp_path: Path) -> None:
    assert_same(load(save(load(path), tmp_path / "again.nc")).tree, fitted.tree)
    assert not any(v.encoding for node in load(path).tree.subtree for v in node.variables.values())


def test_saving_leaves_the_fit_alone(fitted: Fit, tmp_path: Path) -> None:
    before = fitted.tree.copy(deep=True)
    save(fitted, tmp_path / "fit.nc")
    assert_same(before, fitted.tree)


def test_a_subset_keeps_its_row_numbers(tmp_path: Path) -> None:
    runs = Runs.from_frame(table()).subset(np.array([False, True, True, True, False, True]))
    back = load(save(fake_fit(model(), runs, chains=2, draws=10), tmp_path / "fit.nc"))
    assert back.data.table.index.tolist() == [1, 2, 3, 5]
    assert back.data.digest == runs.digest


def test_other_programs_read_the_file(fitted: Fit, path: Path) -> None:
    code = (
        "import sys, json, xarray as xr, arviz as az\n"
        "tree = xr.open_datatree(sys.argv[1])\n"
        "table = az.summary(tree, var_names=['A'])\n"
        "print(json.dumps([sorted(tree.groups), list(table.index), tree.attrs['seed'], tree['runs']['family'].values.tolist(),"
        " 'bayescale' in sys.modules]))\n"
        "same = az.from_netcdf(sys.argv[1])\n"
        "assert same['posterior'].to_dataset().identical(tree['posterior'].to_dataset())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    groups, index, seed, family, ours = json.loads(done.stdout.splitlines()[-1])
    assert {"/posterior", "/log_likelihood", "/runs"} <= set(groups)
    assert len(index) == fitted.posterior.sizes["family"]
    assert seed == str(2**127 + 1)
    assert family == table()["family"].tolist()
    assert not ours


def test_the_file_says_what_made_it(path: Path) -> None:
    attrs = xr.open_datatree(path).load().attrs
    versions = json.loads(attrs["versions"])
    assert versions["bayescale"] == bs.__version__
    assert set(versions) >= {"jax", "numpyro", "numpy", "arviz", "python"}
    assert json.loads(attrs["spec"])["law"]["name"] == "power_law_offset"
    assert json.loads(attrs["runs"])["units"]["loss"] == "bits"
    assert pd.Timestamp(attrs["created"]).tzinfo is not None


def test_nothing_in_the_file_is_a_pickle(path: Path) -> None:
    assert "pickle" not in Path(io.__file__).read_text().replace("Never pickle", "")
    assert b"cnumpy" not in path.read_bytes()


class TestSaveThatFails:
    def test_keeps_the_earlier_file_and_leaves_no_half_one(self, fitted, path, monkeypatch) -> None:
        earlier = path.read_bytes()

        def full(self, target, **_) -> None:
            Path(target).write_bytes(b"\x89HDF half of it")
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(xr.DataTree, "to_netcdf", full)
        with pytest.raises(SavedFileError, match=r"No space left.*is kept"):
            save(fitted, path)
        assert path.read_bytes() == earlier
        assert [found.name for found in path.parent.iterdir()] == ["fit.nc"]

    def test_interrupted_keeps_the_earlier_file(self, fitted, path, monkeypatch) -> None:
        earlier = path.read_bytes()
        monkeypatch.setattr(io, "_seal", lambda part: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            save(fitted, path)
        assert path.read_bytes() == earlier
        assert [found.name for found in path.parent.iterdir()] == ["fit.nc"]

    def test_replaces_only_with_a_whole_file(self, fitted, path, monkeypatch) -> None:
        seen = []
        real = Path.replace
        monkeypatch.setattr(Path, "replace", lambda part, to: (seen.append(load(part).data.digest), real(part, to))[1])
        save(fitted, path)
        assert seen == [fitted.data.digest]

    def test_says_that_the_folder_is_missing(self, fitted, tmp_path) -> None:
        with pytest.raises(SavedFileError, match=r"no folder .*nowhere.*Make it first"):
            save(fitted, tmp_path / "nowhere" / "fit.nc")
        assert not (tmp_path / "nowhere").exists()

    def test_says_that_a_folder_is_no_file(self, fitted, tmp_path) -> None:
        with pytest.raises(SavedFileError, match="is a folder"):
            save(fitted, tmp_path)

    def test_says_that_the_folder_may_not_be_written(self, fitted, tmp_path, monkeypatch) -> None:
        if os.name == "posix" and os.geteuid() != 0:
            tmp_path.chmod(0o500)
        else:  # nothing is forbidden to root

            def forbidden(*_, **__):
                raise PermissionError(errno.EACCES, "Permission denied")

            monkeypatch.setattr(os, "open", forbidden)
        try:
            with pytest.raises(SavedFileError, match=r"Permission denied.*folder that you may write to"):
                save(fitted, tmp_path / "fit.nc")
        finally:
            tmp_path.chmod(0o700)

    def test_refuses_what_is_no_fit(self, fitted, tmp_path) -> None:
        with pytest.raises(SpecError, match="Fit"):
            save(fitted.tree, tmp_path / "fit.nc")

    def test_follows_a_link(self, fitted, path, tmp_path) -> None:
        (tmp_path / "latest.nc").symlink_to(path)
        save(fitted, tmp_path / "latest.nc")
        assert (tmp_path / "latest.nc").is_symlink()
        assert load(path).data.digest == fitted.data.digest


class TestFileThatIsNoFit:
    def test_missing_with_the_near_name(self, path) -> None:
        with pytest.raises(SavedFileError, match=r"no file .*fti\.nc\. Did you mean .*fit\.nc"):
            load(path.parent / "fti.nc")
        with pytest.raises(SavedFileError, match="no folder"):
            load(path.parent / "nowhere" / "fit.nc")

    def test_a_folder(self, path) -> None:
        with pytest.raises(SavedFileError, match=r"is a folder.*fit\.nc"):
            load(path.parent)

    def test_empty(self, tmp_path) -> None:
        (tmp_path / "a.nc").touch()
        with pytest.raises(SavedFileError, match="is empty"):
            load(tmp_path / "a.nc")

    @pytest.mark.parametrize("content", [b"params,loss\n1,2\n", b"\x80\x04\x95", b"\x89PNG\r\n"])
    def test_no_netcdf(self, tmp_path, content) -> None:
        (tmp_path / "a.nc").write_bytes(content)
        with pytest.raises(SavedFileError, match="no netCDF file"):
            load(tmp_path / "a.nc")

    def test_foreign_netcdf(self, tmp_path) -> None:
        xr.Dataset({"a": ("x", [1.0, 2.0])}).to_netcdf(tmp_path / "a.nc", engine="netcdf4")
        with pytest.raises(SavedFileError, match=r"no saved fit.*open_datatree"):
            load(tmp_path / "a.nc")

    @pytest.mark.parametrize("share", [0.001, 0.2, 0.5, 0.99, 0.99999])
    def test_cut_short(self, path, share) -> None:
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(SavedFileError, match=r"damaged|only the beginning"):
            load(path)

    def test_any_flipped_bit(self, path) -> None:
        """HDF5 does not notice most of them, and crashes on some."""
        whole = path.read_bytes()
        for place in np.random.default_rng(0).integers(4, len(whole), 50):
            bad = bytearray(whole)
            bad[place] ^= 0x10
            path.write_bytes(bytes(bad))
            with pytest.raises(SavedFileError, match=r"damaged|no saved fit"):
                load(path)

    def test_changed_by_another_program(self, path) -> None:
        xr.Dataset({"a": 1}).to_netcdf(path, group="more", mode="a", engine="netcdf4")
        with pytest.raises(SavedFileError, match="changed after it was saved"):
            load(path)

    def test_of_a_later_version(self, fitted, path, monkeypatch) -> None:
        monkeypatch.setattr(io, "FORMAT", 99)
        save(fitted, path)
        monkeypatch.undo()
        with pytest.raises(SavedFileError, match=r"format 99.*upgrade"):
            load(path)


class TestLawOfTheUsers:
    @pytest.fixture(autouse=True)
    def registry(self, monkeypatch) -> None:
        """A registry of its own, so that a test's law is gone after it."""
        list_laws()
        monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))

    @staticmethod
    def define(median: float = 0.3, other: bool = False) -> base.Law:
        priors = {"A": Param.positive(1.0, 1.0, unit="response"), "alpha": Param.positive(median, 0.5)}
        if other:

            @law("mine", **priors)
            def mine(x, *, A, alpha):
                return A * (1 + x) ** -alpha
        else:

            @law("mine", **priors)
            def mine(x, *, A, alpha):
                return A * x**-alpha

        return mine

    def saved(self, tmp_path: Path) -> Path:
        mine = ScalingModel(self.define(), axes={"x": "params"}, noise=StudentT(df=5))
        return save(fake_fit(mine, table(), chains=2, draws=10), tmp_path / "mine.nc")

    def test_comes_back(self, tmp_path) -> None:
        path = self.saved(tmp_path)
        again = self.define()  # a notebook run anew
        assert load(path).model == ScalingModel(again, axes={"x": "params"}, noise=StudentT(df=5))

    def test_that_is_not_registered_is_named_with_the_way_to_register_it(self, tmp_path) -> None:
        path = self.saved(tmp_path)
        del base._REGISTRY["mine"]
        with pytest.raises(SpecError, match=r"'mine'.*not registered: mine\(x; A, alpha\).*@law definition.*load again"):
            load(path)
        assert "posterior" in xr.open_datatree(path)

    def test_of_the_same_name_with_other_code_is_refused(self, tmp_path) -> None:
        path = self.saved(tmp_path)
        self.define(other=True)
        with pytest.raises(SpecError, match=r"'mine'.*is another.*digest"):
            load(path)

    def test_of_the_same_code_with_another_prior_is_refused(self, tmp_path) -> None:
        path = self.saved(tmp_path)
        self.define(median=0.5)
        with pytest.raises(SpecError, match=r"prior of alpha"):
            load(path)
