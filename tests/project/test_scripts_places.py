"""The set-up scripts wherever a checkout lies: moved, copied, read-only, linked; and what of it can be installed."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testing.support import ROOT, environment, run

SETUP_S = 300
WHERE = "import ixyfwd, ixyfwd.model.datapath._datapath as c; print(ixyfwd.__file__, c.__file__)"
IN_PLACE = pytest.mark.skipif(
    os.path.realpath(sys.prefix) != os.path.realpath(ROOT / ".venv"), reason="not run by ./scripts/test"
)


def checkout(to: Path) -> Path:
    """The files of this checkout as a clone would have them, nothing built."""
    listed = run("git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard")
    if listed.returncode:
        pytest.skip("the files of this checkout are not known: no git here")
    for name in listed.stdout.splitlines():
        if (ROOT / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


def with_venv(place: Path) -> Path:
    """A copy of this checkout's virtual environment."""
    assert run("cp", "-a", str(ROOT / ".venv"), str(place)).returncode == 0
    return place


def call(root: Path, *arguments: str, name: str = "run", **changes: str) -> subprocess.CompletedProcess[str]:
    """A script of a checkout."""
    return run(str(root / "scripts" / name), *arguments, env=environment(**changes), timeout_s=SETUP_S, cwd="/")


def code_of(venv: Path) -> str:
    """Where a virtual environment has the package and its C from."""
    done = run(str(venv / "bin/python"), "-P", "-c", WHERE, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@IN_PLACE
def test_a_checkout_that_was_copied_and_then_moved_runs_its_own_code(tmp_path: Path) -> None:
    copied = checkout(tmp_path / "copied")
    with_venv(copied / ".venv")
    done = call(copied, "--help")
    assert done.returncode == 0, done.stderr
    assert code_of(copied / ".venv").count(f"{copied}/") == 2
    assert "installing" not in call(copied, "--help").stderr
    moved = copied.rename(tmp_path / "moved")
    done = call(moved, "--duration", "0.2", "--instance", f"moved-{os.getpid()}")
    assert done.returncode == 0, done.stderr
    assert code_of(moved / ".venv").count(f"{moved}/") == 2


@pytest.mark.slow
@IN_PLACE
@pytest.mark.root
def test_a_checkout_that_cannot_be_written(tmp_path: Path) -> None:
    """It is built from a copy in the virtual environment that the message advises."""
    root, venv = checkout(tmp_path / "read-only"), with_venv(tmp_path / "venv")
    (venv / "ixyfwd.stamp").unlink()
    mount = f"mount --bind -o ro {root} {root} && exec"

    def read_only(name: str, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        command = f'{mount} {root}/scripts/{name} "$@"'
        return run(
            "unshare", "-m", "sh", "-c", command, "sh", *arguments, env=environment(**changes), timeout_s=SETUP_S
        )

    before = sorted(root.rglob("*"))
    done = read_only("run")
    assert done.returncode == 1
    assert f"{root}/.venv cannot be written" in done.stderr
    assert "IXYFWD_VENV" in done.stderr
    done = read_only("run", "--duration", "0.2", "--instance", f"ro-{os.getpid()}", IXYFWD_VENV=str(venv))
    assert done.returncode == 0, done.stderr
    assert code_of(venv).count(f"{venv}/checkout/") == 2
    assert sorted(root.rglob("*")) == before
    # The tests run on what was built, and a change of the checkout is noticed.
    done = read_only("test", "-q", "tests/config/test_locate.py", IXYFWD_VENV=str(venv))
    assert done.returncode == 0, done.stdout + done.stderr
    (root / "ixyfwd/__main__.py").write_text("print('changed')\n")
    assert read_only("run", "--help", IXYFWD_VENV=str(venv)).returncode == 0
    assert "changed" in (venv / "checkout/ixyfwd/__main__.py").read_text()


@IN_PLACE
def test_two_checkouts_do_not_share_a_virtual_environment(tmp_path: Path) -> None:
    first, second = checkout(tmp_path / "first"), checkout(tmp_path / "second")
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / "pyvenv.cfg").touch()
    (venv / "ixyfwd.stamp").write_text(f"pcap 1 2\n{first}\n{venv}\n")
    done = call(second, IXYFWD_VENV=str(venv))
    assert done.returncode == 1
    assert done.stderr == (
        f"run: {venv} runs the code of the checkout {first}; set IXYFWD_VENV to another directory for {second}\n"
    )
    assert (venv / "ixyfwd.stamp").exists()


@pytest.mark.parametrize("name", ["run", "test"])
@IN_PLACE
def test_cdpath_relative_places_and_links(tmp_path: Path, name: str) -> None:
    """However a script is called, it finds the installation that is there."""
    help_or_version = "--help" if name == "run" else "--version"
    link = tmp_path / name
    link.symlink_to(ROOT / "scripts" / name)
    for command, folder, changes in (
        (f"scripts/{name}", ROOT, {"CDPATH": f"{ROOT}:/"}),
        (f"./scripts/{name}", ROOT, {"CDPATH": f"/:{ROOT}"}),
        (f"./{name}", tmp_path, {}),
        (f"scripts/{name}", ROOT, {"IXYFWD_VENV": ".venv"}),
    ):
        done = run(command, help_or_version, cwd=folder, env=environment(**changes), timeout_s=SETUP_S)
        assert done.returncode == 0, (command, changes, done.stderr)
        assert "installing" not in done.stderr


@pytest.mark.parametrize("content", ["file", "uv"])
def test_a_directory_that_is_not_ours_is_left_alone(tmp_path: Path, content: str) -> None:
    """IXYFWD_VENV = $HOME, or a virtual environment without pip, as uv makes them."""
    if content == "file":
        (tmp_path / "letter.txt").touch()
    else:
        done = run(sys.executable, "-m", "venv", "--without-pip", str(tmp_path))
        assert done.returncode == 0, done.stderr
        (tmp_path / "lib/mine").touch()
    before = sorted(tmp_path.rglob("*"))
    done = call(ROOT, IXYFWD_VENV=str(tmp_path))
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr
    assert "IXYFWD_VENV" in done.stderr.splitlines()[-1]
    assert set(before) <= set(tmp_path.rglob("*"))


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The sdist and the wheel of a clean clone."""
    folder = tmp_path_factory.mktemp("dist")
    root = checkout(folder / "clone")
    build = "import sys, setuptools.build_meta as b; print(getattr(b, 'build_' + sys.argv[1])('..'))"
    for kind in ("sdist", "wheel"):
        done = run(sys.executable, "-c", build, kind, cwd=root, timeout_s=SETUP_S)
        assert done.returncode == 0, done.stderr
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    yield sdist, wheel
    shutil.rmtree(folder)


@pytest.mark.slow
def test_a_source_distribution_has_all_that_is_written_and_nothing_that_is_made(
    distributions: tuple[Path, Path],
) -> None:
    with tarfile.open(distributions[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    listed = set(run("git", "-C", str(ROOT), "ls-files").stdout.splitlines())
    wanted = {name for name in listed if (ROOT / name).exists() and not name.startswith((".ci/", ".git"))}
    assert wanted <= names
    assert not [name for name in names if name.endswith((".so", ".pyc", ".o")) or "/_c/_" in name]
    assert "ixyfwd/telemetry/words.h" not in names


@pytest.mark.slow
def test_a_source_distribution_installs_and_runs(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    place = tmp_path / "site"
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index")
    done = run(*pip, "--target", str(place), str(distributions[0]), timeout_s=SETUP_S)
    assert done.returncode == 0, done.stderr
    environ = environment(PYTHONPATH=str(place))
    done = run(sys.executable, "-P", "-c", WHERE, env=environ, cwd=tmp_path)
    assert done.stdout.count(f"{place}/") == 2, done.stderr
    start = ("start", "--duration", "1", "--instance", f"sdist-{os.getpid()}", "--json")
    done = run(sys.executable, "-P", "-m", "ixyfwd", *start, env=environ, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_one_wheel_serves_every_python(distributions: tuple[Path, Path]) -> None:
    """All of its extension modules keep to the limited API of 3.11, and its tag says so."""
    wheel = distributions[1]
    assert "-cp311-abi3-linux_" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        modules = [name for name in archive.namelist() if name.endswith(".so")]
    assert modules
    assert all(name.endswith(".abi3.so") for name in modules)
