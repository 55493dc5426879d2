"""CPU lists, who runs where, and what the machine has to offer."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.config.cpus import MAX_CPU, format_cpu_list, parse_cpu_list
from ixyfwd.config.default import default_config
from ixyfwd.config.load import load_config
from ixyfwd.config.machine import Machine, check, this_machine
from ixyfwd.config.placement import Placement, place
from ixyfwd.config.schema import MAX_WORKERS, Config, CpuConfig, PortConfig
from tests.testing.support import ROOT


def simulated(cpu: CpuConfig) -> Config:
    return replace(default_config([0, 1]), cpu=cpu)


def real(cpu: CpuConfig) -> Config:
    ports = (PortConfig("p0", "0000:03:00.0"), PortConfig("p1", "0000:03:00.1"))
    return Config(ports, (("p0", "p1"),), cpu=cpu)


@given(st.lists(st.integers(0, MAX_CPU), min_size=1, max_size=40))
def test_cpu_lists_round_trip(cpus: list[int]) -> None:
    assert parse_cpu_list(format_cpu_list(cpus)) == tuple(cpus)


@given(st.text(alphabet="0123456789-, x\n", max_size=20))
def test_cpu_lists_give_cpus_or_a_sentence(text: str) -> None:
    try:
        cpus = parse_cpu_list(text)
    except ValueError as error:
        assert str(error).startswith("found ") and ", expected " in str(error)
    else:
        assert cpus and all(0 <= cpu <= MAX_CPU for cpu in cpus)


@pytest.mark.parametrize(
    ("text", "cpus"), [("0", (0,)), ("1-3", (1, 2, 3)), ("3,1", (3, 1)), (" 0 - 1 , 4 ", (0, 1, 4)), ("2,2", (2, 2))]
)
def test_cpu_lists(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'found "", expected CPU numbers and ranges such as "1-3,5"'),
        ("1,,2", 'found "", expected CPU numbers and ranges such as "1-3,5"'),
        ("1-", 'found "1-", expected CPU numbers and ranges such as "1-3,5"'),
        ("-1", 'found "-1", expected CPU numbers and ranges such as "1-3,5"'),
        ("3-1", 'found "3-1", expected a range from low to high such as "1-3"'),
        ("0-99999", "found CPU 99999, expected CPUs from 0 to 8191"),
        ("٣", 'found "٣", expected CPU numbers and ranges such as "1-3,5"'),
    ],
)
def test_wrong_cpu_lists(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_cpu_list(text)
    assert str(caught.value) == message


TABLE: list[tuple[CpuConfig, list[int], int | None, tuple[int, ...], int, bool]] = [
    # what is asked for, CPUs allowed, main, workers, model, shared
    (CpuConfig(), [0], 0, (0,), 0, True),
    (CpuConfig(), [0, 1], 1, (0,), 1, False),
    (CpuConfig(), [2, 5, 7], 7, (2, 5), 7, False),
    (CpuConfig(workers=4), [0, 1], 1, (0, 0, 0, 0), 1, True),
    (CpuConfig(workers=4), [0], 0, (0, 0, 0, 0), 0, True),
    (CpuConfig(workers=3), [0, 1, 2], 2, (0, 1, 0), 2, True),
    (CpuConfig(workers=2), [0, 1, 2, 3], None, (0, 1), 3, False),
    (CpuConfig(workers=16), [0, 1], 1, (0,) * 16, 1, True),
    (CpuConfig(workers=(3, 1)), [0, 1, 2, 3], None, (3, 1), 2, False),
    (CpuConfig(workers=(0, 1)), [0, 1], 1, (0, 1), 1, True),
    (CpuConfig(workers=(0,), model=1), [0, 1, 2], None, (0,), 1, False),
    (CpuConfig(model=0), [0, 1, 2], 0, (1, 2), 0, False),
    (CpuConfig(main=0), [0, 1, 2], 0, (1,), 2, False),
    (CpuConfig(main=2), [0, 1, 2], 2, (0,), 1, False),
    (CpuConfig(main=0), [0, 1], 0, (0,), 1, False),
    (CpuConfig(main=1), [0, 1], 1, (1,), 0, False),
    (CpuConfig(main=0, workers=(1, 2), model=3), [0, 1, 2, 3], 0, (1, 2), 3, False),
    (CpuConfig(main=0, workers=(0, 0), model=0, share=True), [0, 1], 0, (0, 0), 0, True),
]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_placement(row: tuple[CpuConfig, list[int], int | None, tuple[int, ...], int, bool]) -> None:
    cpu, allowed, *expected = row
    placement = place(simulated(cpu), allowed)
    assert [placement.main, placement.workers, placement.model, placement.shared] == expected


def test_real_ports_leave_no_cpu_to_a_model() -> None:
    assert place(real(CpuConfig()), [0, 1, 2]) == Placement(None, (0, 1, 2), None, False)
    assert place(real(CpuConfig(model=1)), [0, 1]) == Placement(None, (0, 1), None, False)


@given(
    st.sets(st.integers(0, 40), min_size=1),
    st.none() | st.integers(1, MAX_WORKERS),
    st.none() | st.integers(0, 40),
    st.booleans(),
)
def test_placement_keeps_to_what_is_allowed(
    allowed: set[int], workers: int | None, main: int | None, model_here: bool
) -> None:
    main = main if main in allowed else None
    config = (simulated if model_here else real)(CpuConfig(main=main, workers=workers))
    placement = place(config, allowed)
    assert set(placement.workers) <= allowed
    assert 1 <= len(placement.workers) <= MAX_WORKERS
    assert workers is None or len(placement.workers) == workers
    assert (placement.model is not None) == model_here
    if workers is None and len(allowed) > 1:
        assert not placement.shared
    if workers is not None:
        # Taking turns: no CPU has two workers more than another that has one.
        loads = [placement.workers.count(cpu) for cpu in set(placement.workers)]
        assert max(loads) - min(loads) <= 1


def test_default_configuration_uses_every_cpu_once() -> None:
    for cpus in ([0], [0, 1], [0, 1, 2, 3], list(range(40))):
        config = default_config(cpus)
        placement = place(config, cpus)
        assert len(placement.workers) == max(1, min(16, len(cpus) - 1))
        assert placement.shared == (len(cpus) == 1)
        assert [port.device for port in config.ports] == ["sim:p0", "sim:p1"]
        assert config.links == (("p0", "p1"),)
        assert not check(config, Machine(frozenset(cpus), frozenset(cpus)))


def test_shipped_configuration_is_valid_anywhere_and_says_the_defaults() -> None:
    config = load_config(ROOT / "config.toml")
    machine = Machine(frozenset({0, 1}), frozenset({0, 1}))
    assert not check(config, machine)
    assert not place(config, machine.allowed).shared
    assert config == replace(default_config([0, 1]), cpu=CpuConfig())


def test_this_machine_has_what_it_may_use() -> None:
    machine = this_machine()
    assert machine.allowed and machine.allowed <= machine.online


def lines_of(text: str, tmp_path: Path, machine: Machine) -> list[str]:
    path = tmp_path / "c.toml"
    path.write_text(text)
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in check(load_config(path), machine)]


def test_cpus_that_the_machine_does_not_have_or_does_not_allow(tmp_path: Path) -> None:
    text = '[cpu]\nmain = 9\nworkers = "0-3,7-8"\nmodel = 3\nshare = true\n'
    assert lines_of(text, tmp_path, Machine(frozenset(range(6)), frozenset(range(3)))) == [
        "c.toml:2: cpu.main: found CPU 9, expected CPUs that this machine has (0-5)",
        "c.toml:3: cpu.workers: found CPU 7-8, expected CPUs that this machine has (0-5)",
        "c.toml:3: cpu.workers: found CPU 3, which this process may not use, expected CPUs of its affinity "
        "(0-2; see `taskset -p $$`)",
        "c.toml:4: cpu.model: found CPU 3, which this process may not use, expected CPUs of its affinity "
        "(0-2; see `taskset -p $$`)",
    ]


def test_isolated_cpus_may_be_named_though_they_are_in_nobodys_affinity(tmp_path: Path) -> None:
    text = '[cpu]\nworkers = "2-3"\nmodel = 4\n'
    machine = Machine(frozenset(range(6)), frozenset({0, 1, 5}), frozenset({2, 3, 4}))
    assert lines_of(text, tmp_path, machine) == []
    (tmp_path / "d.toml").write_text("[cpu]\n")
    default = place(load_config(tmp_path / "d.toml"), machine.allowed)
    assert not machine.isolated & {*default.workers, default.main, default.model}


def test_capture_files_that_are_not_there(tmp_path: Path) -> None:
    text = (
        '[[port]]\nname = "a"\ndevice = "sim:a"\nwire = { kind = "pcap", replay = "no.pcap" }\n'
        '[[port]]\nname = "b"\ndevice = "sim:b"\nwire = { kind = "pcap", replay = ".", capture = "no/out.pcap" }\n'
        '[[link]]\nports = ["a", "b"]\n'
    )
    assert lines_of(text, tmp_path, this_machine()) == [
        f"c.toml:4: port[0].wire.replay: found no such file at {tmp_path}/no.pcap, expected a capture file to replay",
        f"c.toml:8: port[1].wire.replay: found a file that cannot be read at {tmp_path}, expected a capture file to "
        "replay",
        f"c.toml:8: port[1].wire.capture: found no directory {tmp_path}/no, expected one to write the file into",
    ]


def test_capture_files_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "in.pcap").touch()
    text = (
        '[[port]]\nname = "a"\ndevice = "sim:a"\nwire = { kind = "pcap", replay = "in.pcap" }\n'
        '[[port]]\nname = "b"\ndevice = "sim:b"\nwire = { kind = "pcap", capture = "out.pcap" }\n'
        '[[link]]\nports = ["a", "b"]\n'
    )
    assert not lines_of(text, tmp_path, this_machine())
