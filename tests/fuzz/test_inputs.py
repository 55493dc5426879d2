"""What the coverage-guided fuzzer reached and found (tests/fuzz), played with an ordinary compiler."""

import os
import shutil
from pathlib import Path

import pytest

from ixyfwd._build import declarations
from tests.testing.support import ROOT, run

FUZZ = ROOT / "tests" / "fuzz"
INPUTS = sorted(str(path) for folder in ("corpus", "found") for path in (FUZZ / folder).glob("*") if path.is_file())
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The harness with a `main`; under the sanitizers where the compiler has them."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    assert compiler, "the project needs a C compiler"
    folder = tmp_path_factory.mktemp("fuzz")
    program = str(folder / "replay")
    model = ROOT / "ixyfwd" / "model" / "datapath" / "_c"
    (folder / "declared.h").write_text(declarations(model))
    sources = [str(path) for path in model.rglob("*.c") if not path.name.startswith("_")]
    sources += [str(FUZZ / name) for name in ("datapath.c", "world.c", "replay.c")]
    includes = [f"-I{path}" for path in (model, ROOT / "ixyfwd", FUZZ, folder)]
    fixed = ("-g", "-O1", "-std=gnu11", "-fno-strict-aliasing", *includes)
    wrap = "-Wl,--wrap=mmap,--wrap=munmap"
    for sanitize in (SANITIZE, ()):
        done = run(compiler, *fixed, *sanitize, *sources, wrap, "-o", program)
        if done.returncode == 0:
            return program
    raise AssertionError(done.stderr)


@pytest.mark.slow
def test_inputs_of_the_fuzzer_do_no_harm(replay: str) -> None:
    assert INPUTS
    done = run(replay, *INPUTS, env={**os.environ, "ASAN_OPTIONS": "handle_sigbus=0"})
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize("wire", range(4))
def test_steps_without_guidance_do_no_harm(replay: str, wire: int, tmp_path: Path) -> None:
    """A pseudo-random input per wire; always the same."""
    state, names = wire + 1, []
    for number in range(20):
        data = bytearray([wire | 4])
        for _ in range(1000):
            state = state * 6364136223846793005 + 1442695040888963407 & 2**64 - 1
            data.append(state >> 56)
        path = tmp_path / str(number)
        path.write_bytes(data)
        names.append(str(path))
    done = run(replay, *names, env={**os.environ, "ASAN_OPTIONS": "handle_sigbus=0"})
    assert done.returncode == 0, done.stderr[-4000:]


def test_the_script_refuses_what_it_does_not_know() -> None:
    for arguments in (["--runs"], ["--runs", "0"], ["elsewhere"]):
        done = run(str(ROOT / "scripts" / "fuzz"), *arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("fuzz: ")


def test_the_script_says_when_there_is_no_clang(tmp_path: Path) -> None:
    environment = {**os.environ, "CLANG": "clang-that-is-not-there", "IXYFWD_FUZZ": str(tmp_path)}
    done = run(str(ROOT / "scripts" / "fuzz"), "--runs", "1", env=environment)
    assert done.returncode == 2
    assert "no clang with libFuzzer" in done.stderr
