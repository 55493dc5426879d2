"""Every wrong input to a configuration file: the sentence with its file, line and key; and what right input means."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.config.default import default_config
from ixyfwd.config.load import load_config
from ixyfwd.config.schema import RSS_FIELDS, Config, RecoveryConfig
from ixyfwd.errors import UsageError
from ixyfwd.memory.layout import frame_buffers
from ixyfwd.model.wires.cable import CableWire
from ixyfwd.model.wires.generator import GeneratorWire
from ixyfwd.model.wires.none import NoWire
from ixyfwd.model.wires.pcap import PcapWire
from ixyfwd.model.wires.tap import TapWire
from ixyfwd.settings.problems import ConfigErrors
from ixyfwd.traffic.schedule import IMIX
from tests.testing.config_cases import BEHIND, EVERYTHING, FILE_PROBLEMS, MISSING, NAMES, PORT_LINES, PORTS, WIRES


def load(tmp_path: Path, text: str | bytes) -> Config:
    path = tmp_path / "c.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(path)


def problems(tmp_path: Path, text: str | bytes) -> list[str]:
    """What is wrong, as a person sees it, without the folder."""
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path, text)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    assert caught.value.exit_code == UsageError.exit_code == 2
    return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def wire_problems(tmp_path: Path, wire: str, device: str = "sim:p0") -> list[str]:
    """Problems of the wire of the first port, which stands on line 4."""
    first = f'[[port]]\nname = "p0"\ndevice = "{device}"\nwire = {wire}\n'
    return problems(tmp_path, first + PORTS.split("\n", 3)[3])


def test_an_empty_file_is_the_default_configuration(tmp_path: Path) -> None:
    config = load(tmp_path, "")
    assert (config.ports, config.links) == (default_config([0]).ports, default_config([0]).links)


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    config = load(tmp_path, EVERYTHING % ("6D5A" * 20))
    wires = {port.name: port.wire for port in config.ports}
    assert wires == {
        "gen": GeneratorWire(8, ((64, 1), (512, 1)), 1e6, 1000, "payload"),
        "tap": TapWire("ixy0"),
        "imix": GeneratorWire(64, IMIX, "max"),
        "pcap": PcapWire(f"{tmp_path}/in.pcap", "/out.pcap", True, "recorded"),
        "real": None,
        "qemu": None,
        "left": CableWire("right"),
        "right": CableWire("left"),
        "off": NoWire(),
        "plain": GeneratorWire(),
    }
    assert config.instance == "edge-1"
    assert (config.cpu.main, config.cpu.workers, config.cpu.model, config.cpu.share) == (0, (3, 1, 2), 4, False)
    assert config.cpu.nice == -5
    assert config.links[2] == ("real", "qemu")
    tap, real = config.ports[1], config.ports[4]
    assert (tap.promiscuous, tap.mac_filters, tap.simulated) == (False, ("02:ab:00:00:00:01",), True)
    assert (real.device, real.promiscuous, real.simulated) == ("0000:3a:00.0", False, False)
    assert (tap.mac, real.mac) == (None, "02:ab:00:00:00:0f")
    forward = config.forward
    assert (forward.programs[0].name, forward.engine, forward.idle) == ("touch", "vector", "spin")
    assert (forward.ring_size, forward.batch, forward.buffers) == (4096, 2048, 200000)
    assert (forward.interrupt_interval_us, forward.loop) == (1022, "python")
    assert (config.rss.key, config.rss.fields) == ("6d5a" * 20, ("tcp4", "ipv4"))
    assert config.memory.backing == "hugetlbfs:/dev/hugepages"
    assert config.start.link_timeout_s == 1.0
    assert config.recovery == RecoveryConfig(0, 1.0, 0.0)


def test_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, PORTS)
    assert config == Config(default_config([0]).ports, (("p0", "p1"),))
    assert config.rss.fields == RSS_FIELDS
    assert load(tmp_path, PORTS + "[forward]\nring_size = 64\n").forward.batch == 32
    assert (config.forward.max_frame, config.forward.segmented) == (1518, False)


@pytest.mark.parametrize(("max_frame", "buffers"), [(1518, 1), (2044, 1), (2045, 2), (4092, 2), (9018, 5), (9728, 5)])
def test_frames_fill_buffers_with_two_tags_and_without_crc(tmp_path: Path, max_frame: int, buffers: int) -> None:
    forward = load(tmp_path, PORTS + f"[forward]\nmax_frame = {max_frame}\n").forward
    assert frame_buffers(forward.max_frame) == buffers == -(-(max_frame + 4) // 2048)
    assert forward.segmented == (buffers > 1)
    assert forward.mtu == max_frame - 18


def test_a_generator_and_max_frame_must_agree(tmp_path: Path) -> None:
    wires = PORTS.replace('device = "sim:p1"\n', 'device = "sim:p1"\nwire = { frame = [64, 9018] }\n')
    assert wires != PORTS
    (found,) = problems(tmp_path, wires)
    assert found == (
        "c.toml:7: port[1].wire.frame: found 9018, expected at most [forward] max_frame, which is 1518 "
        "(it may be up to 9728)"
    )
    assert load(tmp_path, wires + "[forward]\nmax_frame = 9018\n").forward.segmented
    (found,) = problems(tmp_path, wires + "[forward]\nmax_frame = 9729\n")
    assert "found 9729, expected a whole number from 1518 to 9728" in found


def test_two_ports_cannot_have_one_address(tmp_path: Path) -> None:
    text = PORTS.replace('device = "sim:p', 'mac = "02:ab:00:00:00:0f"\ndevice = "sim:p')
    (sentence,) = problems(tmp_path, text)
    assert 'port[1].mac: found "02:ab:00:00:00:0f" again (line ' in sentence
    assert sentence.endswith("expected an address of its own")


@pytest.mark.parametrize("workers", [1, 4, 16])
def test_a_number_of_workers(tmp_path: Path, workers: int) -> None:
    assert load(tmp_path, f"[cpu]\nworkers = {workers}\n").cpu.workers == workers


def test_shared_cpus_when_asked_for(tmp_path: Path) -> None:
    config = load(tmp_path, '[cpu]\nmain = 1\nmodel = 1\nworkers = "1,1,0"\nshare = true\n')
    assert config.cpu.workers == (1, 1, 0)


@pytest.mark.parametrize(("text", "sentence"), FILE_PROBLEMS, ids=[sentence[:60] for _, sentence in FILE_PROBLEMS])
def test_broken_files(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    assert problems(tmp_path, text) == [sentence]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_what_other_systems_editors_make_of_a_file(tmp_path: Path, newline: str, mark: bytes) -> None:
    """A byte order mark, CR LF; lines are counted as ever."""
    path = tmp_path / "c.toml"
    path.write_bytes(mark + PORTS.replace("\n", newline).encode())
    assert len(load_config(path).ports) == 2
    assert problems(tmp_path, mark + f"[cpu]{newline}main = true{newline}{PORTS}".encode()) == [
        "c.toml:2: cpu.main: found true, expected a whole number from 0 to 8191"
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(tmp_path: Path, encoding: str) -> None:
    expected = ["c.toml: found UTF-16, expected a file in UTF-8 (save it as UTF-8)"]
    assert problems(tmp_path, PORTS.encode(encoding)) == expected


def test_a_number_too_long_for_python(tmp_path: Path) -> None:
    (sentence,) = problems(tmp_path, "a = " + "1" * 5000)
    assert sentence.startswith("c.toml: found broken TOML: ")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    for path, sentence in (
        (
            missing,
            f"{missing}: found no such file, expected a configuration file (without -c two simulated ports are used)",
        ),
        (tmp_path, f"{tmp_path}: found a directory, expected a configuration file"),
    ):
        with pytest.raises(ConfigErrors) as caught:
            load_config(path)
        assert str(caught.value) == sentence


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_this_user_may_not_read(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.touch(mode=0o000)
    with pytest.raises(
        ConfigErrors, match="found a file that cannot be read \\(Permission denied\\), expected a readable"
    ):
        load_config(path)


@pytest.mark.parametrize(("text", "sentence"), BEHIND, ids=[sentence[:70] for _, sentence in BEHIND])
def test_one_wrong_value(tmp_path: Path, text: str, sentence: str) -> None:
    (found,) = problems(tmp_path, PORTS + text)
    assert found.startswith(f"c.toml:{sentence}")
    assert "\n" not in found


@pytest.mark.parametrize(("wire", "sentence"), WIRES, ids=[sentence[:70] for _, sentence in WIRES])
def test_one_wrong_wire(tmp_path: Path, wire: str, sentence: str) -> None:
    (found,) = wire_problems(tmp_path, wire)
    assert found.startswith(f"c.toml:4: {sentence}")


@pytest.mark.parametrize("device", ["0000:03:00.0", "vfio-user:/run/x.sock"])
def test_a_wire_on_a_device_that_is_not_simulated(tmp_path: Path, device: str) -> None:
    assert wire_problems(tmp_path, '{ kind = "none" }', device) == [
        f'c.toml:4: port[0].wire: found a wire, expected none on "{device}" (only "sim:" ports have one; '
        "at a real port the cable is real)"
    ]


@pytest.mark.parametrize(("lines", "sentence"), PORT_LINES, ids=[sentence[:70] for _, sentence in PORT_LINES])
def test_one_wrong_port(tmp_path: Path, lines: str, sentence: str) -> None:
    name = "p0" if 'name = "p0"' in lines else None
    link = f'[[link]]\nports = ["{name}", "p1"]\n' if name else '[[link]]\nports = ["p2", "p1"]\n'
    extra = "" if name else '[[port]]\nname = "p2"\ndevice = "sim:p2"\n'
    text = f'[[port]]\n{lines}\n[[port]]\nname = "p1"\ndevice = "sim:p1"\n{extra}{link}'
    (found,) = problems(tmp_path, text)
    assert found.startswith(f"c.toml:{sentence}")


def test_things_that_must_be_there_once(tmp_path: Path) -> None:
    text = """\
[[port]]
name = "p0"
device = "sim:a"
wire = { kind = "tap", interface = "ixy0" }
[[port]]
name = "p0"
device = "sim:b"
wire = { kind = "tap", interface = "ixy0" }
[[port]]
name = "p2"
device = "sim:a"
wire = { kind = "pcap", capture = "x.pcap" }
[[port]]
name = "p3"
device = "sim:d"
wire = { kind = "pcap", capture = "x.pcap" }
[[port]]
name = "p4"
device = "sim:e"
wire = { kind = "pcap", replay = "y.pcap" }
[[port]]
name = "p5"
device = "sim:f"
wire = { kind = "pcap", capture = "y.pcap" }
[[link]]
ports = ["p0", "p2"]
[[link]]
ports = ["p2", "p3"]
[[link]]
ports = ["p4", "p4"]
[[link]]
ports = ["p5", "q5"]
"""
    assert problems(tmp_path, text) == [
        'c.toml:6: port[1].name: found "p0" again (line 2 has it), expected a name of its own',
        'c.toml:8: port[1].wire.interface: found "ixy0" again (line 4 has it), expected an interface of its own',
        'c.toml:11: port[2].device: found "sim:a" again (line 3 has it), expected a device of its own',
        'c.toml:16: port[3].wire.capture: found "x.pcap" again (line 12 has it), expected a file of its own',
        'c.toml:24: port[5].wire.capture: found "y.pcap", which is replayed too, expected another file to write',
        'c.toml:28: link[1].ports[0]: found "p2" again, expected each port in one link only (line 26 has it)',
        'c.toml:30: link[2].ports[1]: found "p4" twice, expected two different ports',
        'c.toml:32: link[3].ports[1]: found "q5", expected the name of a port ("p0", "p2", "p3", "p4" or "p5")',
    ]


@pytest.mark.parametrize(("text", "sentences"), MISSING, ids=[sentences[0][:50] for _, sentences in MISSING])
def test_sections_that_are_missing(tmp_path: Path, text: str, sentences: list[str]) -> None:
    assert problems(tmp_path, text) == sentences


def test_too_many_ports(tmp_path: Path) -> None:
    ports = "".join(f'[[port]]\nname = "p{i}"\ndevice = "sim:p{i}"\n' for i in range(16))
    links = "".join(f'[[link]]\nports = ["p{i}", "p{i + 1}"]\n' for i in range(0, 16, 2))
    assert problems(tmp_path, ports + links) == ["c.toml:46: port[15]: found 16 ports, expected at most 15"]


def test_every_problem_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = '[forward]\nring_size = 3\nbatch = "x"\nbogus = 1\n[cpu]\nworkers = "9-1"\n[rss]\nkey = 1\n' + PORTS
    found = problems(tmp_path, text)
    assert [line.split(": ")[:2] for line in found] == [
        ["c.toml:2", "forward.ring_size"],
        ["c.toml:3", "forward.batch"],
        ["c.toml:4", "forward.bogus"],
        ["c.toml:6", "cpu.workers"],
        ["c.toml:8", "rss.key"],
    ]


WORDS = [
    "generator",
    "tap",
    "pcap",
    "cable",
    "none",
    "line",
    "imix",
    "p0",
    "p1",
    "sim:p0",
    "xconnect",
    "1-3",
    "auto",
    "a.pcap",
]
KEYS = [
    "name",
    "device",
    "wire",
    "kind",
    "to",
    "interface",
    "replay",
    "capture",
    "rate",
    "frame",
    "flows",
    "count",
    "ports",
    "main",
    "workers",
    "model",
    "share",
    "nice",
    "program",
    "engine",
    "ring_size",
    "batch",
    "buffers",
    "idle",
    "interrupt_interval_us",
    "key",
    "fields",
    "backing",
    "promiscuous",
    "mac_filters",
    "mac",
    "flow_control",
    "device_id",
    "link_timeout_s",
    "restarts",
    "window_s",
    "held_s",
    "verify",
    "loop",
]
LEAF = st.sampled_from(WORDS) | st.text(max_size=5) | st.integers() | st.floats() | st.booleans()
VALUE = st.recursive(
    LEAF, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from(KEYS), v, max_size=4), max_leaves=8
)
TABLES = st.dictionaries(st.sampled_from(KEYS), VALUE, max_size=6)
DOCUMENT = st.dictionaries(
    st.sampled_from(["instance", "cpu", "port", "link", "forward", "rss", "memory", "start", "recovery", "bogus"]),
    TABLES | st.lists(TABLES, max_size=3) | VALUE,
    max_size=8,
)


def toml(value: Any) -> str:
    """Inline TOML."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            escaped = "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in value)
            return f'"{escaped}"'
        case dict():
            return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
    return str(value)


@given(DOCUMENT)
def test_any_values_give_a_configuration_or_sentences(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in document.items()))
    try:
        load_config(path)
    except ConfigErrors as errors:
        assert errors.problems
        for problem in errors.problems:
            assert 1 <= problem.line <= len(document)
            assert "found " in problem.message and "\n" not in str(problem)


def test_no_port_has_a_usable_name(tmp_path: Path) -> None:
    text = '[[port]]\nname = "A"\ndevice = "sim:a"\nwire = { kind = "cable", to = "b" }\n[[link]]\nports = ["A", "B"]\n'
    assert problems(tmp_path, text) == [
        f'c.toml:2: port[0].name: found "A", expected {NAMES}',
        'c.toml:4: port[0].wire.to: found "b", expected the name of a port',
        'c.toml:6: link[0].ports[0]: found "A", expected the name of a port',
        'c.toml:6: link[0].ports[1]: found "B", expected the name of a port',
    ]


@given(st.binary(max_size=60))
def test_any_bytes_give_a_configuration_or_sentences(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.toml"
    path.write_bytes(raw)
    try:
        load_config(path)
    except ConfigErrors as errors:
        assert all("found " in problem.message and "\n" not in str(problem) for problem in errors.problems)
