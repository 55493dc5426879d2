"""Wrong configurations, and the sentence that each must give: a case per line, however long."""
# ruff: noqa: E501
# fmt: off

from collections.abc import Iterable

from ixyfwd.config.load import MAX_FILE_BYTES
from ixyfwd.model.wires.registry import kinds
from ixyfwd.programs.registry import programs

PORTS = """\
[[port]]
name = "p0"
device = "sim:p0"
[[port]]
name = "p1"
device = "sim:p1"
[[link]]
ports = ["p0", "p1"]
"""
DEVICES = '"sim:NAME", "vfio-user:/PATH" or a PCI address such as "0000:03:00.0"'
DEVICE_IDS = '"10fb", "10f9", "10f7", "1528" or "1563", or the same as a number such as 0x10fb'
NAMES = "1 to 32 of the characters a-z, 0-9, _ and -"


def one_of(names: Iterable[str]) -> str:
    """The names as a sentence offers them. A case that lists the members of an axis takes them from the tree."""
    *first, last = (f'"{name}"' for name in sorted(names))
    return f"{', '.join(first)} or {last}"


PROGRAMS = one_of(programs())
WIRE_KINDS = one_of(kinds())

FILE_PROBLEMS: list[tuple[str | bytes, str]] = [
    ("[cpu\n", "c.toml:1: found broken TOML in column 5: expected ']' at the end of a table declaration"),
    ("a = 1\n\nb = \n", "c.toml:3: found broken TOML in column 5: invalid value"),
    ("a = 1\na = 2\n", "c.toml:2: found broken TOML in column 6: cannot overwrite a value"),
    ('a = """\n\n', "c.toml:2: found broken TOML at the end of the file: unterminated string"),
    (b"a = 1\n# \0\n", "c.toml:2: found a zero byte, expected text in UTF-8"),
    (b"a = 1\n# b\rc = 2\n", "c.toml:2: found a carriage return alone, expected lines that end with LF or CR LF"),
    (b"a = 1\n# \xff\n", "c.toml:2: found byte 0xff, which is not UTF-8, expected a file in UTF-8"),
    (b"#" * (MAX_FILE_BYTES + 1), f"c.toml: found more than {MAX_FILE_BYTES} bytes, expected a configuration file"),
    (
        "a = " + "[" * 5000 + "]" * 5000,
        "c.toml: found lists or tables nested too deeply, expected a configuration file",
    ),
]

# Text that is put behind PORTS (whose last line is 8) and the one problem with it.
BEHIND: list[tuple[str, str]] = [
    ("[foward]\n", '9: foward: found an unknown key, expected "instance", "cpu", "port", "link", "forward", "program", "rss", "memory", '
     '"start" or "recovery"; did you mean "forward"?'),
    ('[forward]\nprogramm = "touch"\n', '10: forward.programm: found an unknown key, expected "ring_size", "max_frame", "batch", '
     '"program", "engine", "buffers", "idle", "interrupt_interval_us" or "loop"; did you mean "program"?'),
    ('[instance]\nname = "No Good"\n', f'10: instance.name: found "No Good", expected {NAMES}'),
    ('[instance]\nname = ""\n', f'10: instance.name: found "", expected {NAMES}'),
    ("[instance]\nname = 3\n", f"10: instance.name: found 3, expected {NAMES}"),
    ("instance = 1\n", "9: link[0].instance: found an unknown key"),
    ('[cpu]\nmain = "0"\n', '10: cpu.main: found "0", expected a whole number from 0 to 8191'),
    ("[cpu]\nmain = -1\n", "10: cpu.main: found -1, expected a whole number from 0 to 8191"),
    ("[cpu]\nmodel = true\n", "10: cpu.model: found true, expected a whole number from 0 to 8191"),
    ("[cpu]\nnice = -21\n", "10: cpu.nice: found -21, expected a whole number from -20 to 19"),
    ('[forward]\nloop = "c"\n', '10: forward.loop: found "c", expected "auto", "python" or "fused"'),
    ("[cpu]\nshare = 1\n", "10: cpu.share: found 1, expected true or false"),
    ("[cpu]\nworkers = 0\n", '10: cpu.workers: found 0, expected a CPU list such as "1-3", or how many workers (1 to 16)'),
    ("[cpu]\nworkers = 17\n", '10: cpu.workers: found 17, expected a CPU list such as "1-3", or how many workers (1 to 16)'),
    ("[cpu]\nworkers = 1.5\n", '10: cpu.workers: found 1.5, expected a CPU list such as "1-3", or how many workers (1 to 16)'),
    ("[cpu]\nworkers = [1, 2]\n", "10: cpu.workers: found [1, 2], expected a CPU list"),
    ('[cpu]\nworkers = "1-x"\n', '10: cpu.workers: found "1-x", expected CPU numbers and ranges such as "1-3,5"'),
    ('[cpu]\nworkers = "0-16"\n', "10: cpu.workers: found 17 CPUs, expected at most 16 CPUs (one receive queue per worker; RSS has 16)"),
    ('[cpu]\nworkers = "0-2,1,2"\n', "10: cpu.workers: found CPU 1-2 more than once, expected each CPU once (or share = true)"),
    ('[cpu]\nworkers = "1-3"\nmain = 2\n', "11: cpu.main: found CPU 2, which workers (line 10) has too, expected a CPU of its own (or share = true)"),
    ('[cpu]\nmodel = 1\nworkers = "1-3"\n', "10: cpu.model: found CPU 1, which workers (line 11) has too, expected a CPU of its own (or share = true)"),
    ("[cpu]\nmain = 1\nmodel = 1\n", "11: cpu.model: found CPU 1, which main (line 10) has too, expected a CPU of its own (or share = true)"),
    ('[forward]\nprogram = "xconect"\n', f'10: forward.program: found "xconect", expected {PROGRAMS}; did you mean "xconnect"?'),
    ('[forward]\nprogram = ["touch", "touch"]\n', '10: forward.program[1]: found "touch" again, expected each program once'),
    ('[forward]\nprogram = ["touch", 3]\n', f'10: forward.program[1]: found 3, expected {PROGRAMS}'),
    ("[forward]\nprogram = []\n", "10: forward.program: found an empty list, expected 1 to 16 programs"),
    ("[program.drop]\nevery = -1\n", "10: program.drop.every: found -1, expected a whole number from 0 to 4294967295"),
    ("[program.drop]\nevrey = 1\n", '10: program.drop.evrey: found an unknown key, expected "every", "shorter_than" or '),
    ("[program.dorp]\nevery = 1\n", f'9: program.dorp: found an unknown key, expected {PROGRAMS}; did you'),
    ("[program.touch]\nat = 1\n", "10: program.touch.at: found an unknown key"),
    ('[forward]\nprogram = "drop"\nloop = "fused"\n', '11: forward.loop: found "fused", expected "auto" or "python" with '),
    ("[forward]\nprogram = 1\n", f'10: forward.program: found 1, expected {PROGRAMS}, or a list of them'),
    ('[forward]\nengine = "gpu"\n', '10: forward.engine: found "gpu", expected "native", "vector" or "naive"'),
    ('[forward]\nidle = "lazy"\n', '10: forward.idle: found "lazy", expected "spin", "adaptive", "sleep" or "interrupt"'),
    ('[forward]\ninterrupt_interval_us = 51\n',
     '10: forward.interrupt_interval_us: found 51, expected an even whole number from 0 to 1022 (microseconds)'),
    ('[forward]\ninterrupt_interval_us = 1024\n',
     '10: forward.interrupt_interval_us: found 1024, expected an even whole number from 0 to 1022 (microseconds)'),
    ('[forward]\ninterrupt_interval_us = true\n',
     '10: forward.interrupt_interval_us: found true, expected an even whole number from 0 to 1022 (microseconds)'),
    ("[forward]\nring_size = 500\n", "10: forward.ring_size: found 500, expected a power of two from 64 to 4096"),
    ("[forward]\nring_size = 32\n", "10: forward.ring_size: found 32, expected a power of two from 64 to 4096"),
    ("[forward]\nring_size = 8192\n", "10: forward.ring_size: found 8192, expected a power of two from 64 to 4096"),
    ("[forward]\nring_size = 512.0\n", "10: forward.ring_size: found 512.0, expected a power of two from 64 to 4096"),
    ("[forward]\nring_size = 128\nbatch = 65\n", "11: forward.batch: found 65, expected a whole number from 1 to 64 (half of ring_size)"),
    ("[forward]\nbatch = 0\n", "10: forward.batch: found 0, expected a whole number from 1 to 256 (half of ring_size)"),
    ("[forward]\nmax_frame = 1517\n", "10: forward.max_frame: found 1517, expected a whole number from 1518 to 9728"),
    ("[forward]\nmax_frame = 9018.0\n", "10: forward.max_frame: found 9018.0, expected a whole number from 1518 to 9728"),
    ("[forward]\nmax_frame = 9018\nbatch = 4\n", "11: forward.batch: found 4, expected a whole number from 5 to 256 "
     "(what a frame of 9018 bytes fills; half of ring_size)"),
    ('[forward]\nmax_frame = 9018\nloop = "fused"\n', '11: forward.loop: found "fused", expected "auto" or "python" with '
     "max_frame = 9018, where a frame may fill several buffers"),
    ('[forward]\nmax_frame = 9018\nengine = "naive"\n', '10: forward.max_frame: found 9018, expected at most 2044 with '
     'engine = "naive", which takes a frame for a buffer'),
    ("[forward]\nbuffers = 100\n", "10: forward.buffers: found 100, expected 0 (automatic) or a whole number from 2176 "
     "(2 ports, rings of 512, batches of 64) to 262144"),
    ('[rss]\nkey = "6d5a"\n', '10: rss.key: found "6d5a", expected "symmetric", "microsoft" or 80 hexadecimal digits'),
    ('[rss]\nfields = ["ipv4", "ipv5"]\n', '10: rss.fields[1]: found "ipv5", expected "ipv4", "tcp4", "udp4", "ipv6", "tcp6" or "udp6"'),
    ('[rss]\nfields = [\n"ipv4",\n"ipv4"]\n', '12: rss.fields[1]: found "ipv4" again, expected each field once'),
    ("[rss]\nfields = []\n", '10: rss.fields: found an empty list, expected at least one of "ipv4", "tcp4"'),
    ('[rss]\nfields = "ipv4"\n', '10: rss.fields: found "ipv4", expected a list of "ipv4", "tcp4"'),
    ('[memory]\nbacking = "hugetlbfs:dev"\n', '10: memory.backing: found "hugetlbfs:dev", expected "auto", "hugepages", "plain" or '
     '"hugetlbfs:/MOUNT"'),
    ("[start]\nlink_timeout_s = 0\n", "10: start.link_timeout_s: found 0, expected a number from 0.1 to 300 (seconds)"),
    ("[recovery]\nrestarts = -1\n", "10: recovery.restarts: found -1, expected a whole number from 0 to 1000"),
    ("[recovery]\nheld_s = -1\n", "10: recovery.held_s: found -1, expected a number from 0 to 3600 (seconds)"),
    ("[start]\nlink_timeout_s = inf\n", "10: start.link_timeout_s: found inf, expected a number from 0.1 to 300 (seconds)"),
    ("[[memory]]\n", "9: memory: found [a table], expected a table"),
    ('[[link]]\nports = ["p0"]\n', '10: link[1].ports: found ["p0"], expected two port names such as ["p0", "p1"]'),
    ('[[link]]\nports = ["p0", 1]\n', '10: link[1].ports: found ["p0", 1], expected two port names such as ["p0", "p1"]'),
    ("[[link]]\n", '9: link[1].ports: found no such key, expected two port names such as ["p0", "p1"]'),
    ('[[port]]\nname = "p2"\ndevice = "sim:p2"\n', '10: port[2].name: found "p2" in no link, expected every port in one [[link]]'),
]

# A wire of port p0 on line 4.
WIRES: list[tuple[str, str]] = [
    ('"generator"', 'port[0].wire: found "generator", expected a table'),
    ('{ kind = "tab" }', f'port[0].wire.kind: found "tab", expected {WIRE_KINDS}; did you mean "tap"?'),
    ("{ kind = 1 }", f'port[0].wire.kind: found 1, expected {WIRE_KINDS}'),
    ("{ flows = 0 }", "port[0].wire.flows: found 0, expected a whole number from 1 to 65536"),
    ("{ frame = 63 }", 'port[0].wire.frame: found 63, expected bytes with CRC from 64 to 9728, a list of them, or "imix"'),
    ("{ frame = 9729 }", 'port[0].wire.frame: found 9729, expected bytes with CRC from 64 to 9728, a list of them, or "imix"'),
    ('{ frame = "big" }', 'port[0].wire.frame: found "big", expected bytes with CRC from 64 to 9728, a list of them, or "imix"'),
    ("{ frame = [] }", "port[0].wire.frame: found an empty list, expected 1 to 16 sizes"),
    ("{ frame = [64, 9729] }", "port[0].wire.frame[1]: found 9729, expected bytes with CRC from 64 to 9728"),
    ('{ frame = [64, "64"] }', 'port[0].wire.frame[1]: found "64", expected bytes with CRC from 64 to 9728'),
    ('{ rate = "fast" }', 'port[0].wire.rate: found "fast", expected "line" or "max", or frames per second from 0.1 to 1e+09'),
    ('{ rate = "recorded" }', 'port[0].wire.rate: found "recorded", expected "line" or "max", or frames per second from 0.1 to 1e+09'),
    ("{ rate = 0 }", 'port[0].wire.rate: found 0, expected "line" or "max", or frames per second from 0.1 to 1e+09'),
    ("{ rate = nan }", 'port[0].wire.rate: found nan, expected "line" or "max", or frames per second from 0.1 to 1e+09'),
    ("{ rate = true }", 'port[0].wire.rate: found true, expected "line" or "max", or frames per second from 0.1 to 1e+09'),
    ("{ count = 0 }", "port[0].wire.count: found 0, expected a whole number from 1 to 281474976710656"),
    ('{ verify = "all" }', 'port[0].wire.verify: found "all", expected "frame" or "payload"'),
    ('{ interface = "ixy0" }', 'port[0].wire.interface: found an unknown key, expected "kind", "rate", "flows", "frame", "count", "verify" or "full"'),
    ('{ full = "pause" }', 'port[0].wire.full: found "pause", expected "drop" or "wait"'),
    ('{ rate = "max", full = "drop" }', 'port[0].wire.full: found "drop", expected "wait" with rate = "max", which never overruns the port'),
    ('{ kind = "pcap", replay = "a", full = "drop" }', 'port[0].wire.full: found "drop", expected "wait" with rate = "max"'),
    ('{ kind = "tap" }', "port[0].wire.interface: found no such key, expected an interface name of 1 to 15 characters without blanks, / and :"),
    ('{ kind = "tap", interface = "a/b" }', 'port[0].wire.interface: found "a/b", expected an interface name of 1 to 15 characters without blanks, / and :'),
    ('{ kind = "tap", interface = ".." }', 'port[0].wire.interface: found "..", expected an interface name'),
    ('{ kind = "tap", interface = "sixteen-letters-" }', 'port[0].wire.interface: found "sixteen-letters-", expected an interface name'),
    ('{ kind = "pcap" }', 'port[0].wire: found neither "replay" nor "capture", expected a file for at least one of them'),
    ('{ kind = "pcap", replay = 1 }', "port[0].wire.replay: found 1, expected a file name"),
    ('{ kind = "pcap", replay = "a", loop = "yes" }', 'port[0].wire.loop: found "yes", expected true or false'),
    ('{ kind = "pcap", replay = "a", rate = -1 }', 'port[0].wire.rate: found -1, expected "max", "line" or "recorded", or frames per second'),
    ('{ kind = "cable" }', "port[0].wire.to: found no such key, expected the name of the port at the other end"),
    ('{ kind = "cable", to = "p1" }', 'port[0].wire.to: found "p1", whose wire does not lead back, expected a port whose wire is { kind = "cable", to = "p0" }'),
    ('{ kind = "cable", to = "p0" }', 'port[0].wire.to: found "p0", the port itself, expected another port'),
    ('{ kind = "cable", to = "p9" }', 'port[0].wire.to: found "p9", expected the name of a port ("p0" or "p1")'),
    ('{ kind = "none", to = "p1" }', 'port[0].wire.to: found an unknown key, expected "kind"'),
]

# The lines of the first port, from line 2.
PORT_LINES: list[tuple[str, str]] = [
    ('name = "P 0"\ndevice = "sim:p0"', f'2: port[0].name: found "P 0", expected {NAMES}'),
    ('device = "sim:p0"', f"1: port[0].name: found no such key, expected {NAMES}"),
    ('name = "p0"', f"1: port[0].device: found no such key, expected {DEVICES}"),
    ('name = "p0"\ndevice = "eth0"', f'3: port[0].device: found "eth0", expected {DEVICES}'),
    ('name = "p0"\ndevice = "vfio-user:x"', f'3: port[0].device: found "vfio-user:x", expected {DEVICES}'),
    ('name = "p0"\ndevice = "3:00.0"', f'3: port[0].device: found "3:00.0", expected {DEVICES}'),
    ('name = "p0"\ndevice = "sim:p0"\npromiscuous = "yes"', '4: port[0].promiscuous: found "yes", expected true or false'),
    ('name = "p0"\ndevice = "sim:p0"\nmac_filters = "02:00:00:00:00:01"', '4: port[0].mac_filters: found "02:00:00:00:00:01", expected a list of MAC addresses'),
    ('name = "p0"\ndevice = "sim:p0"\nmac_filters = [\n"02:00:00:00:00:01",\n"02-00"]', '6: port[0].mac_filters[1]: found "02-00", expected a MAC address such as "02:00:00:00:00:01"'),
    ('name = "p0"\ndevice = "sim:p0"\nmac_filters = ["02:00:00:00:00:0A", "02:00:00:00:00:0a"]', '4: port[0].mac_filters[1]: found "02:00:00:00:00:0a" again, expected each address once'),
    ('name = "p0"\ndevice = "sim:p0"\npromiscuous = true\nmac_filters = ["02:00:00:00:00:01"]', "4: port[0].promiscuous: found true, expected promiscuous = false beside mac_filters"),
    *((f'name = "p0"\ndevice = "sim:p0"\nmac = {mac}', f'4: port[0].mac: found {mac}, expected the address of one station (unicast, not all zeros)') for mac in ('"02-00"', '"01:00:5e:00:00:01"', '"00:00:00:00:00:00"', "7")),
    ('name = "p0"\ndevice = "sim:p0"\ndevise = 1', '4: port[0].devise: found an unknown key, expected "name", "device", "mac_filters", "promiscuous", "mac", "flow_control", "wire" or "device_id"; did you mean "device"?'),
    ('name = "p0"\ndevice = "sim:p0"\nflow_control = "both"', '4: port[0].flow_control: found "both", expected "off", "rx", "tx" or "full"'),
    ('name = "p0"\ndevice = "sim:p0"\ndevice_id = "1234"', f'4: port[0].device_id: found "1234", expected {DEVICE_IDS}'),
    ('name = "p0"\ndevice = "sim:p0"\ndevice_id = 1563', f'4: port[0].device_id: found 1563, expected {DEVICE_IDS}'),
    ('name = "p0"\ndevice = "0000:03:00.0"\ndevice_id = 0x1563', '4: port[0].device_id: found a device_id, expected none on "0000:03:00.0" (only of "sim:" ports can it be chosen)'),
]

# Whole files.
MISSING: list[tuple[str, list[str]]] = [
    ('[[link]]\nports = ["p0", "p1"]\n', ["c.toml:1: port: found no such key, expected at least two [[port]] tables"]),
    (PORTS.split("[[link]]", maxsplit=1)[0], ["c.toml:1: link: found no such key, expected at least one [[link]] table"]),
    ("port = []\nlink = []\n", ["c.toml:1: port: found an empty list, expected at least two [[port]] tables",
                                "c.toml:2: link: found an empty list, expected at least one [[link]] table"]),
    ("port = 1\nlink = 2\n", ["c.toml:1: port: found 1, expected tables headed [[port]]",
                              "c.toml:2: link: found 2, expected tables headed [[link]]"]),
    ("port = [1]\n[[link]]\n", ["c.toml:1: port[0]: found 1, expected tables headed [[port]]",
                                'c.toml:2: link[0].ports: found no such key, expected two port names such as ["p0", "p1"]']),
]

# Every key and every kind of wire; right, with %s for the RSS key.
EVERYTHING = """\
[instance]
name = "edge-1"
[cpu]
main = 0
workers = "3,1-2"
model = 4
nice = -5
[[port]]
name = "gen"
device = "sim:gen"
wire = { kind = "generator", flows = 8, frame = [64, 512], rate = 1e6, count = 1000, verify = "payload" }
[[port]]
name = "tap"
device = "sim:tap"
promiscuous = false
mac_filters = ["02:AB:00:00:00:01"]
[port.wire]
kind = "tap"
interface = "ixy0"
[[port]]
name = "imix"
device = "sim:imix"
wire = { frame = "imix", rate = "max" }
[[port]]
name = "pcap"
device = "sim:pcap"
wire = { kind = "pcap", replay = "in.pcap", capture = "/out.pcap", loop = true, rate = "recorded" }
[[port]]
name = "real"
device = "0000:3A:00.0"
mac = "02:AB:00:00:00:0F"
mac_filters = ["02:00:00:00:00:01"]
[[port]]
name = "qemu"
device = "vfio-user:/run/x.sock"
[[port]]
name = "left"
device = "sim:left"
wire = { kind = "cable", to = "right" }
[[port]]
name = "right"
device = "sim:right"
wire = { kind = "cable", to = "left" }
[[port]]
name = "off"
device = "sim:off"
wire.kind = "none"
[[port]]
name = "plain"
device = "sim:plain"
[[link]]
ports = ["gen", "tap"]
[[link]]
ports = ["imix", "pcap"]
[[link]]
ports = ["real", "qemu"]
[[link]]
ports = ["left", "off"]
[[link]]
ports = ["right", "plain"]
[forward]
program = "touch"
engine = "vector"
ring_size = 4096
batch = 2048
buffers = 200000
idle = "spin"
interrupt_interval_us = 1022
loop = "python"
[rss]
key = "%s"
fields = ["tcp4", "ipv4"]
[memory]
backing = "hugetlbfs:/dev/hugepages"
[start]
link_timeout_s = 1
[recovery]
restarts = 0
window_s = 1
held_s = 0
"""
