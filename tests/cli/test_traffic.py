"""`ixyfwd generate` and `ixyfwd capture`, on the model, as a user would run them."""

import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from scapy.all import IP, UDP, Ether, rdpcap

from ixyfwd.errors import UsageError
from ixyfwd.roles.capture.bpf import compile_filter
from tests.testing.support import IXYFWD, assert_captured_sum, assert_generated_sum, eventually, report_of, run

pytestmark = pytest.mark.slow

ENGINES = ("native", "vector")
FILTERS = ("udp", "tcp", "src net 10.0.0.0/30", "udp port 4098", "greater 500", "ip[8] < 10", "ether[47] & 1 = 0")


def traffic(*arguments: str, exit_code: int = 0) -> dict[str, Any]:
    """`ixyfwd ARGUMENTS --json` to its end; its report."""
    done = run(*IXYFWD, *arguments, "--json")
    assert done.returncode == exit_code, done.stdout + done.stderr
    report = report_of(done.stdout)
    assert exit_code == 2 or report["faults"] == 0
    return report


def assert_sent(report: dict[str, Any]) -> None:
    """Every frame is in one place, and the sink got what was sent."""
    assert_generated_sum(report)
    sink = report["sink"]
    assert sink.pop("received") == report["sent"]
    assert not any(sink.values()), sink


def shown(path: Path, *expression: str) -> list[str]:
    """What tcpdump makes of a file."""
    done = run("tcpdump", "-n", "-r", str(path), *expression)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("frame", ["64", "imix", "65,1518"])
def test_the_sink_knows_every_frame(engine: str, frame: str) -> None:
    report = traffic(
        "generate", "sim:p0", "--engine", engine, "--frame", frame, "--flows", "5", "--count", "20001", "--rate", "max"
    )
    assert report["asked"] == report["sent"] == 20001
    assert report["shortfall"] == 0
    assert_sent(report)


@pytest.mark.alone
@pytest.mark.parametrize("engine", ENGINES)
def test_the_rate_is_kept(engine: str) -> None:
    report = traffic("generate", "sim:p0", "--engine", engine, "--rate", "50000", "--duration", "1")
    assert_sent(report)
    due = 50000 * report["uptime_s"]
    # What a crowded machine makes late is sent later or counted as shortfall, never sent beyond what is due.
    assert 0.8 * due < report["sent"] + report["shortfall"] < 1.1 * due


def test_sigint_ends_in_order() -> None:
    command = [*IXYFWD, "generate", "sim:p0", "--rate", "1%", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "port sim:p0" in process.stderr.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, out + err
    report = report_of(out)
    assert report["reason"] == "SIGINT received"
    assert report["asked"] > 0
    assert_sent(report)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ending", ["pcap", "pcapng"])
def test_captured_frames_read_back(tmp_path: Path, engine: str, ending: str) -> None:
    file = tmp_path / f"frames.{ending}"
    begun = time.time()
    report = traffic(
        *("capture", "sim:p0", "--engine", engine, "-w", str(file), "--count", "500"),
        *("--wire", "generator:flows=4,frame=[64, 301],rate=20000,full=wait"),
    )
    assert_captured_sum(report)
    assert report["written"] == 500
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(shown(file)) == 500
    frames = rdpcap(str(file))
    assert {len(frame) for frame in frames} == {60, 297}
    for number, frame in enumerate(frames):
        assert frame[UDP].sport == 4096 + 2 * (number % 4)
    times = [begun, *(float(frame.time) for frame in frames), time.time()]
    assert times == sorted(times)


def test_snaplen_cuts_and_keeps_the_length(tmp_path: Path) -> None:
    for ending in ("pcap", "pcapng"):
        file = tmp_path / f"frames.{ending}"
        wire = "generator:flows=1,frame=512,rate=20000"
        traffic("capture", "sim:p0", "--wire", wire, "-w", str(file), "--count", "10", "--snaplen", "50")
        assert {(len(frame), frame.wirelen) for frame in rdpcap(str(file))} == {(50, 508)}


def end_to_end(tmp_path: Path) -> Iterator[tuple[str, str]]:
    sockets = [str(tmp_path / name) for name in ("a.sock", "b.sock")]
    ports = [word for name, socket in zip("ab", sockets, strict=True) for word in ("--port", f"{name}={socket}")]
    command = [*IXYFWD, "model", *ports, "--wire", "cable:b", "--wire", "cable:a", "--mmap"]
    model = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        eventually(lambda: all(os.path.exists(socket) for socket in sockets) or model.poll() is not None, "it listens")
        yield f"vfio-user:{sockets[0]}", f"vfio-user:{sockets[1]}"
    finally:
        model.send_signal(signal.SIGINT)
        model.communicate(timeout=30)
    assert model.returncode == 0  # no faults


@pytest.fixture(name="cable")
def cable_fixture(tmp_path: Path) -> Iterator[tuple[str, str]]:
    yield from end_to_end(tmp_path)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_one_end_generates_the_other_captures(cable: tuple[str, str], tmp_path: Path, engine: str) -> None:
    file = tmp_path / "frames.pcap"
    command = [*IXYFWD, "capture", cable[1], "--engine", engine, "-w", str(file), "--count", "3000", "--json"]
    capture = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # It waits for the link, which is up when the other end is.
    arguments = ("--flows", "3", "--frame", "64,130", "--rate", "20000", "--src", "192.0.2.1:1000")
    options = ("--dst", "198.51.100.7:53", "--dst-mac", "02:00:00:00:00:0b", "--duration", "20")
    command = [*IXYFWD, "generate", cable[0], "--engine", engine, *arguments, *options, "--json"]
    assert capture.stderr is not None
    assert "port vfio-user" in capture.stderr.readline()
    generate = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = capture.communicate(timeout=60)
    generate.send_signal(signal.SIGINT)
    sent, _ = generate.communicate(timeout=60)
    assert capture.returncode == 0, out + err
    assert_captured_sum(report_of(out))
    assert report_of(sent)["asked"] == report_of(sent)["sent"] >= 3000
    frames = rdpcap(str(file))
    assert len(frames) == 3000
    for number, frame in enumerate(frames):
        assert int.from_bytes(bytes(frame)[52:56], "little") == number // 3
        assert (frame[Ether].dst, frame[IP].src, frame[IP].dst) == ("02:00:00:00:00:0b", "192.0.2.1", "198.51.100.7")
        assert (frame[UDP].sport, frame[UDP].dport) == (1000 + number % 3, 53 + number % 3)
        checksum = frame[IP].chksum
        del frame[IP].chksum
        assert IP(bytes(frame[IP])).chksum == checksum
        assert frame[UDP].chksum == 0  # none, RFC 768
        assert len(frame) == frame[IP].len + 14


FILTER_WIRE = "generator:flows=16,frame=[64, 570],rate=100000,count=2000,full=wait"


@pytest.fixture(name="everything", scope="module")
def everything_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the wire of the filter tests sends, whole."""
    file = tmp_path_factory.mktemp("traffic") / "all.pcap"
    report = traffic("capture", "sim:p0", "--wire", FILTER_WIRE, "-w", str(file), "--count", "2000")
    assert report["written"] == 2000
    return file


@pytest.mark.parametrize(
    ("engine", "expression"), [*(("native", text) for text in FILTERS), *(("vector", text) for text in FILTERS[2:4])]
)
def test_filters_are_tcpdumps(everything: Path, tmp_path: Path, engine: str, expression: str) -> None:
    file = tmp_path / "some.pcap"
    report = traffic(
        *("capture", "sim:p0", "--engine", engine, "--wire", FILTER_WIRE, "-w", str(file)),
        *("--duration", "1", "--filter", expression),
    )
    assert_captured_sum(report)
    assert report["received"] == report["written"] + report["filtered"] == 2000
    wanted = [line.split(" ", 1)[1] for line in shown(everything, expression)]
    assert [line.split(" ", 1)[1] for line in shown(file)] == wanted


def test_a_wrong_filter_is_said_in_libpcaps_words() -> None:
    with pytest.raises(UsageError, match=r"found 'udp prot 53' .*syntax error"):
        compile_filter("udp prot 53")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("generate",), "expected either a PORT"),
        (("generate", "nonsense"), "found"),
        (("generate", "sim:p0", "--rate", "0"), "--rate"),
        (("generate", "sim:p0", "--rate", "101%"), "--rate"),
        (("generate", "sim:p0", "--frame", "63"), "63 bytes"),
        (("generate", "sim:p0", "--flows", "0"), "--flows"),
        (("generate", "sim:p0", "--src", "10.0.0.256"), "--src"),
        (("generate", "sim:p0", "--dst-mac", "1:2"), "--dst-mac"),
        (("generate", "sim:p0", "--engine", "naive"), "--engine"),
        (("capture", "sim:p0", "--wire", "cable:p1"), "cable"),
        (("capture", "sim:p0", "--snaplen", "0"), "--snaplen"),
        (("capture", "sim:p0", "--count", "0"), "--count"),
        (("capture", "sim:p0", "-w", "/nonexistent/file"), "-w"),
        (("capture", "sim:p0", "-v", "-w", "x.pcap"), "-v"),
        (("capture", "sim:p0", "--port", "p0"), "--port"),
    ],
)
def test_wrong_use_is_one_sentence(arguments: Sequence[str], words: str) -> None:
    done = run(*IXYFWD, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_of_a_configuration(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    ports = "".join(f'[[port]]\nname = "{name}"\ndevice = "sim:{name}"\nwire = {{ kind = "none" }}\n' for name in "ab")
    config.write_text(f'{ports}[[link]]\nports = ["a", "b"]\n')
    report = traffic("generate", "-c", str(config), "--port", "b", "--count", "100")
    assert (report["port"], report["sent"], report["sink"]) == ("sim:b", 100, None)


def test_standard_output_and_lines() -> None:
    wire = ("--wire", "generator:flows=1,rate=1000", "--count", "5")
    piped = subprocess.run(
        [*IXYFWD, "capture", "sim:p0", *wire, "-w", "-"], capture_output=True, timeout=60, check=True
    )
    assert piped.stdout[:4] == (0xA1B23C4D).to_bytes(4, "little")
    assert len(piped.stdout) == 24 + 5 * (16 + 60)
    lines = run(*IXYFWD, "capture", "sim:p0", *wire, "-v").stdout.splitlines()
    assert len(lines) == 5
    assert all("10.0.0.0.4096 > 10.128.0.128.4097: UDP, length 18" in line for line in lines)


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = [*IXYFWD, "capture", "sim:p0", "-w", "-"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(1000)
    process.stdout.close()
    err = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 0, err
    assert "the reader has gone" in err


def test_a_killed_worker_ends_the_run(tmp_path: Path) -> None:
    file = tmp_path / "frames.pcap"
    command = [*IXYFWD, "capture", "sim:p0", "-w", str(file), "--wire", "generator:rate=10000", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    eventually(lambda: file.exists() and file.stat().st_size > 1000, "frames in the file")
    worker = next(
        child for child in psutil.Process(process.pid).children() if "worker.main" in " ".join(child.cmdline())
    )
    worker.kill()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "was killed by SIGKILL" in err
    assert_captured_sum(report_of(out))


@pytest.mark.root
def test_a_full_disk_leaves_a_whole_file(tmp_path: Path) -> None:
    assert run("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(tmp_path)).returncode == 0
    try:
        file = tmp_path / "frames.pcap"
        done = run(*IXYFWD, "capture", "sim:p0", "-w", str(file), "--json")
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == (
            f"ixyfwd: {file} cannot be written any more (No space left on device); the file so far is whole"
        )
        report = report_of(done.stdout)
        assert_captured_sum(report)
        assert report["drops"]["file"] > 0
        assert len(shown(file)) == report["written"] > 0
    finally:
        run("umount", str(tmp_path))


@pytest.mark.root
def test_the_kernels_own_ping_is_captured(tmp_path: Path) -> None:
    file, name = tmp_path / "ping.pcapng", "ixycap"
    words = ("-w", str(file), "--filter", "icmp", "--count", "3", "--duration", "30", "--json")
    command = [*IXYFWD, "capture", "sim:p0", "--wire", f"tap:{name}", *words]
    capture = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        eventually(lambda: os.path.exists(f"/sys/class/net/{name}"), "the interface is there")
        for arguments in (
            f"netns add {name}",
            f"link set {name} netns {name}",
            f"-n {name} addr add 10.97.0.1/24 dev {name}",
            f"-n {name} link set {name} up",
            f"-n {name} neigh add 10.97.0.2 lladdr 02:00:00:00:00:02 dev {name}",
        ):
            done = run("ip", *arguments.split())
            assert done.returncode == 0, done.stderr
        run("ip", "netns", "exec", name, "ping", "-c", "3", "-i", "0.2", "-W", "1", "10.97.0.2")  # nobody answers
        out, err = capture.communicate(timeout=40)
    finally:
        capture.kill()
        run("ip", "netns", "del", name)
    assert capture.returncode == 0, out + err
    assert_captured_sum(report_of(out))
    assert [line.split(", ")[2] for line in shown(file)] == [f"seq {number}" for number in (1, 2, 3)]


def test_what_a_stopped_worker_misses_fell_into_pauses() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("with one CPU worker and model share it, and no pauses are counted")
    command = [*IXYFWD, "capture", "sim:p0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()  # frames flow
        (worker,) = [child for child in psutil.Process(process.pid).children() if child.name() == "ixyfwd-w0"]
        for _ in range(3):
            worker.send_signal(signal.SIGSTOP)
            time.sleep(0.1)
            worker.send_signal(signal.SIGCONT)
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        report = report_of(process.communicate(timeout=30)[0])
    assert_captured_sum(report)
    assert 0 < report["drops_in_pauses"] <= report["drops"]["rx_no_descriptor"]


# files that were there before


def test_an_old_file_keeps_its_mode_and_a_refused_run_leaves_its_content(tmp_path: Path) -> None:
    """Before, the file was emptied before anybody knew whether there would be a run."""
    file = tmp_path / "old.pcap"
    file.write_bytes(b"content")
    file.chmod(0o644)
    done = run(*IXYFWD, "capture", f"vfio-user:{tmp_path}/nowhere", "-w", str(file))
    assert done.returncode != 0 and file.read_bytes() == b"content"
    link = tmp_path / "link.pcap"
    link.symlink_to(file)
    wire = "generator:rate=1000"
    assert traffic("capture", "sim:p0", "--wire", wire, "-w", str(link), "--count", "3")["written"] == 3
    assert len(shown(file)) == 3 and link.is_symlink() and file.stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a device")
def test_a_device_is_written_to_as_it_is(tmp_path: Path) -> None:
    null = tmp_path / "null"
    os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    null.chmod(0o666)
    assert (
        traffic("capture", "sim:p0", "--wire", "generator:rate=1000", "-w", str(null), "--count", "3")["written"] == 3
    )
    assert null.stat().st_mode == 0o666 | stat.S_IFCHR


def test_a_fifo_takes_what_is_captured(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = subprocess.Popen(
        ["tcpdump", "-n", "-r", str(fifo)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    report = traffic("capture", "sim:p0", "--wire", "generator:rate=1000", "-w", str(fifo), "--count", "5")
    out, _ = reader.communicate(timeout=30)
    assert report["written"] == len(out.splitlines()) == 5


@pytest.mark.parametrize("fate", ["removed", "moved"])
def test_what_becomes_of_the_file_is_said(tmp_path: Path, fate: str) -> None:
    """A removed file is a failure: nothing of what was captured is left. A moved one is told of."""
    file = tmp_path / "frames.pcap"
    command = [
        *IXYFWD,
        "capture",
        "sim:p0",
        "--wire",
        "generator:rate=1000",
        "-w",
        str(file),
        "--duration",
        "20",
        "--json",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    eventually(lambda: file.exists() and file.stat().st_size > 24, "frames are in the file")
    if fate == "removed":
        file.unlink()
    else:
        file.rename(tmp_path / "other.pcap")
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    assert any(f"note: {file} was {fate}" in line for line in lines)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    report = report_of(out)
    assert_captured_sum(report)
    if fate == "removed":
        assert process.returncode == report["exit_code"] == 1
        assert f"ixyfwd: {file} was removed" in err and report["error"].startswith(f"{file} was removed")
    else:
        assert process.returncode == report["exit_code"] == 0 and report["error"] is None
        assert any(text.startswith(f"{file} was moved") for text in report["notices"])
