"""What the build takes for an extension module."""

from pathlib import Path

from ixyfwd._build import extensions


def module(folder: Path, name: str) -> Path:
    place = folder / "_c"
    place.mkdir(parents=True)
    (place / f"{name}.cdef.h").write_text("int answer(void);\n")
    (place / f"{name}.h").write_text('#include "answer.cdef.h"\n')
    (place / f"{name}.c").write_text("int answer(void) { return 42; }\n")
    return place


def test_sources_in_folders_of_a_module_are_its_own(tmp_path: Path) -> None:
    deeper = module(tmp_path / "package" / "part", "answer") / "deeper"
    deeper.mkdir()
    (deeper / "more.c").write_text("")
    (deeper / "more.h").write_text("")
    (built,) = extensions(tmp_path / "package")
    assert built.name == "package.part._answer"
    assert [Path(source).name for source in built.sources] == ["_answer.c", "answer.c", "more.c"]
    assert str(deeper / "more.h") in built.depends


def test_what_a_module_that_is_gone_left_is_no_module(tmp_path: Path) -> None:
    left = tmp_path / "package" / "old" / "_c"
    left.mkdir(parents=True)
    (left / "_answer.c").write_text("")  # generated, so no checkout removes it
    module(tmp_path / "package" / "part", "answer")
    assert [built.name for built in extensions(tmp_path / "package")] == ["package.part._answer"]
