"""Linux's own ixgbe on two model ports with a cable between them, each port in a network namespace of its own."""

import json
import re
from collections.abc import Sequence

from tests.vm.guest import CheckError, Hardware
from tests.vm.lab import Check, Lab, no_faults

# eth0 in n0 is 10.9.0.1, eth1 in n1 is 10.9.0.2.
_MOVE = "ip netns add n{n} 2>/dev/null; ip link set eth{n} netns n{n}; ip -n n{n} link set lo up"
_UP = "ip -n n{n} addr replace 10.9.0.{a}/24 dev eth{n}; ip -n n{n} link set eth{n} up"
_CARRIER = "for n in 0 1; do [ $(ip netns exec n$n cat /sys/class/net/eth$n/carrier) = 1 ] || exit 1; done"
_BAD_DMESG = re.compile(
    r"ixgbe.*(error|fail|timeout|timed out|hang|reset|not valid)"
    r"|BUG:|\bOops\b|WARNING|Call Trace|DMAR.*fault|vfio.*fail",
    re.I,
)

# A frame that was pending when the link went makes Linux reset the port, with a card as with the model.
_PENDING = "initiating reset to clear Tx work after link loss"
_RESET = "Reset adapter"
_LINK = re.compile(r"\bixgbe (\S+) \S+: NIC Link is (Up|Down)")
_SAYS = re.compile(r"\bixgbe (\S+) \S+: (.+)")


def in_n0(command: str) -> str:
    """`command` where eth0 is."""
    return f"ip netns exec n0 {command}"


def in_n1(command: str) -> str:
    """`command` where eth1 is."""
    return f"ip netns exec n1 {command}"


def bind(lab: Lab) -> str:
    """Load the driver, give each port its namespace and address, wait for both links."""
    lab.must("modprobe ixgbe", 60)
    for n in (0, 1):
        lab.must(f"{_MOVE}; {_UP}".format(n=n, a=n + 1))
    lab.until("carrier on both ports", _CARRIER)
    speeds = [lab.must(f"ip netns exec n{n} ethtool eth{n}") for n in (0, 1)]
    if not all("Speed: 10000Mb/s" in text and "Link detected: yes" in text for text in speeds):
        raise CheckError(f"not at 10 Gb/s: {speeds}")
    probed = re.findall(r"ixgbe \S+ (?:MAC: .*|Multiqueue.*?XDP)", lab.must("dmesg"))
    return f"both links up at 10 Gb/s; {probed[0].split(': ', 1)[1] if probed else ''}"


def interrupts(lab: Lab) -> str:
    """With no MSI-X and no MSI, Linux falls back to the interrupt pin."""
    lines = [line.split() for line in lab.must("grep eth /proc/interrupts").splitlines()]
    kinds = {word for words in lines for word in words if word.startswith(("IO-APIC", "PCI-MSI"))}
    if kinds != {"IO-APIC"} or len(lines) != 2:
        raise CheckError(f"/proc/interrupts has {lines}")
    return "one level-triggered line for each port"


def ping(lab: Lab) -> str:
    """Small, full-size and fragmented packets, then a flood; none may be lost."""
    flood = 0
    for options in ("-c 20 -i 0.01", "-c 20 -i 0.01 -s 1472 -M do", "-c 20 -i 0.01 -s 20000", "-f -c 2000"):
        text = lab.must(in_n0(f"ping -q {options} 10.9.0.2"))
        sent, received = _counts(text)
        if sent != received:
            raise CheckError(f"ping {options}: {received} of {sent} answered")
        flood = received
    average = _find(r"= [\d.]+/([\d.]+)/", text)
    return f"flood {flood} of {flood} answered, {average} ms each"


def iperf(lab: Lab) -> str:
    """TCP both ways with the offloads that Linux sets."""
    features = lab.must(in_n0("ethtool -k eth0"))
    for feature in ("tcp-segmentation-offload", "tx-checksumming", "rx-checksumming", "tx-vlan-offload"):
        if f"{feature}: on" not in features:
            raise CheckError(f"Linux has {feature} off")
    forth, back = (iperf_mbps(lab, "10.9.0.2", options) for options in ("", "-R"))
    return f"{forth:.0f} and {back:.0f} Mbit/s on an emulated processor, TSO and checksums on"


def vlan(lab: Lab) -> str:
    """Tags inserted and stripped by the ports."""
    for n in (0, 1):
        lab.must(
            f"ip -n n{n} link add link eth{n} name v{n} type vlan id 7; ip -n n{n} addr add 10.9.7.{n + 1}/24 dev v{n};"
            f" ip -n n{n} link set v{n} up"
        )
    _all_answered(lab.must(in_n0("ping -q -c 20 -i 0.01 10.9.7.2")))
    rate = iperf_mbps(lab, "10.9.7.2", "")
    for n in (0, 1):
        lab.must(f"ip -n n{n} link del v{n}")
    return f"{rate:.0f} Mbit/s in VLAN 7"


def self_test(lab: Lab) -> str:
    """`ethtool -t`: registers, EEPROM, interrupt, loopback, link. It misuses the device on purpose."""
    before = lab.model.fault_total()
    for n in (0, 1):
        done = lab.guest.run(f"ip netns exec n{n} ethtool -t eth{n} offline", 90)
        if done.status or "PASS" not in done.output:
            failed = lab.guest.run("dmesg | grep -i 'test.*failed'").output
            raise CheckError(f"eth{n}: {done.output} {failed}")
    lab.until("carrier after the self-test", _CARRIER)
    own = lab.model.fault_total() - before
    return f"PASS on both (the tests' own {own} misuses of registers recorded)"


KEY = ":".join(["6d:5a"] * 20)


def channels(lab: Lab) -> str:
    """The indirection table decides which queue receives."""
    seen = {}
    matched = sum(int(count) for count in re.findall(r"fdir_match: (\d+)", lab.must(in_n1("ethtool -S eth1"))))
    lab.must(in_n1("ethtool -K eth1 ntuple on"))  # else the flow director goes before the table, as Linux set it
    lab.until("carrier without signature filters", _CARRIER)
    for spread in ("equal 1", "equal 2"):
        # Linux's own key is random: with one in eight of them, ports next to each other all hash to one queue.
        lab.must(in_n1(f"ethtool -X eth1 hkey {KEY} {spread}"))
        before = _queue_packets(lab)
        iperf_mbps(lab, "10.9.0.2", "-P 16 -t 1")
        after = _queue_packets(lab)
        seen[spread] = [now - then for then, now in zip(before, after, strict=True)]
    table = lab.must(in_n1("ethtool -x eth1"))
    lab.must(in_n1("ethtool -X eth1 default"))
    lab.must(in_n1("ethtool -K eth1 ntuple off"))
    lab.until("carrier with signature filters", _CARRIER)
    if "toeplitz: on" not in table:
        raise CheckError(f"ethtool -x: {table[:200]}")
    one, two = seen["equal 1"], seen["equal 2"]
    if any(count > 20 for count in one[1:]) or min(two[:2]) < 20:
        raise CheckError(f"packets by queue with one: {one}, with two: {two}")
    return f"rx by queue: {one} with one entry, {two} with two; {matched} matched by the flow director before"


def module(lab: Lab) -> str:
    """SFP+ EEPROM, NVM and register dump."""
    text = lab.must(in_n0("ethtool -m eth0"), 120)
    if "Passive Cable" not in text or "SFP" not in text:
        raise CheckError(f"ethtool -m: {text[:300]}")
    return f"{_find(r'Vendor name *: (.*)', text)}, {_find(r'Transceiver type *: (.*)', text)}; {dumps(lab)}"


def no_module(lab: Lab) -> str:
    """An empty cage: the driver binds, says so and has no carrier; nothing else is wrong."""
    lab.must("modprobe ixgbe; ip link set eth0 up; ip link set eth1 up", 120)
    carrier = lab.must("sleep 5; cat /sys/class/net/eth0/carrier /sys/class/net/eth1/carrier").split()
    if carrier != ["0", "0"]:
        raise CheckError(f"carrier {carrier} without a module")
    done = lab.guest.run("ethtool -m eth0", 120)
    if done.status == 0:
        raise CheckError(f"ethtool -m found a module: {done.output[:200]}")
    return f"bound, no carrier; ethtool -m: {done.output.strip().splitlines()[-1]}"


def dumps(lab: Lab) -> str:
    """ethtool -e and -d."""
    nvm = lab.must(in_n0("ethtool -e eth0 raw on length 128 | od -An -v -tx2"))
    words = [int(word, 16) for word in nvm.split()]
    if sum(words) & 0xFFFF != 0xBABA:
        raise CheckError(f"the NVM words 0 to 0x3f add up to {sum(words) & 0xFFFF:#06x}, expected 0xbaba")
    registers = lab.must(in_n0("ethtool -d eth0"))
    if "CTRL" not in registers:
        raise CheckError(f"ethtool -d: {registers[:200]}")
    return f"NVM checksum right, {len(registers.splitlines())} lines of registers"


def toggles(lab: Lab) -> str:
    """Each feature off and on again, with traffic in between."""
    names = ("tso", "tx", "rx", "sg", "rxvlan", "txvlan", "lro", "ntuple", "rxhash", "gro")
    rates = {}
    for name in names:
        first, then = ("on", "off") if name in ("lro", "ntuple") else ("off", "on")
        for n in (0, 1):
            lab.must(f"ip netns exec n{n} ethtool -K eth{n} {name} {first}")
        lab.until(f"carrier with {name} {first}", _CARRIER)
        rates[name] = iperf_mbps(lab, "10.9.0.2", "-t 1")
        for n in (0, 1):
            lab.must(f"ip netns exec n{n} ethtool -K eth{n} {name} {then}")
        lab.until(f"carrier with {name} {then}", _CARRIER)
    lab.must(in_n0("ethtool -K eth0 tx on sg on tso on"))
    lab.must(in_n1("ethtool -K eth1 tx on sg on tso on"))
    return ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()) + " Mbit/s"


def rings(lab: Lab) -> str:
    """The smallest and the largest rings, moderation and the number of channels."""
    for words in ("-G eth0 rx 64 tx 64", "-G eth0 rx 4096 tx 4096", "-C eth0 rx-usecs 100", "-L eth0 combined 1"):
        lab.must(in_n0(f"ethtool {words}"))
        lab.must(in_n1(f"ethtool {words.replace('eth0', 'eth1')}"))
        lab.until(f"carrier after {words}", _CARRIER)
        _all_answered(lab.must(in_n0("ping -q -c 200 -f 10.9.0.2")))
    for n in (0, 1):
        lab.must(f"ip netns exec n{n} ethtool -L eth{n} combined 2")
        lab.must(f"ip netns exec n{n} ethtool -G eth{n} rx 512 tx 512")
    lab.until("carrier with two channels", _CARRIER)
    return "64 and 4096 descriptors, moderation, one channel and two: all answered"


def jumbo(lab: Lab) -> str:
    """MTU 9000, whole packets and TCP, then back."""
    for n in (0, 1):
        lab.must(f"ip -n n{n} link set eth{n} mtu 9000")
    lab.until("carrier at MTU 9000", _CARRIER)
    _all_answered(lab.must(in_n0("ping -q -c 50 -i 0.01 -s 8972 -M do 10.9.0.2")))
    rate = iperf_mbps(lab, "10.9.0.2", "")
    for n in (0, 1):
        lab.must(f"ip -n n{n} link set eth{n} mtu 1500")
    lab.until("carrier at MTU 1500", _CARRIER)
    return f"8972 bytes unfragmented, TCP {rate:.0f} Mbit/s"


def filters(lab: Lab) -> str:
    """A new station address, multicast, promiscuous mode."""
    lab.must("ip -n n1 link set eth1 address 02:00:00:00:be:ef")
    _all_answered(lab.must(in_n0("bash -c 'ip neigh flush all; ping -q -c 10 -i 0.01 10.9.0.2'")))
    lab.must("ip -n n0 neigh replace 10.9.0.2 lladdr 02:00:00:00:00:99 dev eth0 nud permanent")
    unheard = lab.guest.run(in_n0("ping -q -c 3 -i 0.1 -W 1 10.9.0.2"))
    capture = lab.guest.start(in_n1("timeout 10 tcpdump -i eth1 -c 3 -nn ether dst 02:00:00:00:00:99"), 20)
    lab.until("promiscuous mode", in_n1("bash -c '[ $(cat /sys/class/net/eth1/flags) != 0x1003 ]'"))
    lab.guest.run("sleep 2; " + in_n0("ping -q -c 5 -i 0.1 -W 1 10.9.0.2"))
    heard = lab.guest.wait(capture, 20)
    lab.must("ip -n n0 neigh del 10.9.0.2 dev eth0; ip -n n1 maddr add 33:33:00:00:12:34 dev eth1")
    if unheard.status == 0 or "3 packets captured" not in heard.output:
        raise CheckError(f"foreign address: {unheard.output[-200:]}; promiscuous: {heard.output[-300:]}")
    return "new address answers, a foreign one is dropped and seen by tcpdump"


def cable(lab: Lab) -> str:
    """The cable is pulled and plugged in again; Linux notices by interrupt."""
    for name, n in (("a", 0), ("b", 1)):
        lab.model.client.set_link(name, False)
        lab.until("loss of carrier", f"[ $(ip netns exec n{n} cat /sys/class/net/eth{n}/carrier) = 0 ]")
        lab.model.client.set_link(name, True)
        lab.until("carrier", _CARRIER)
    _all_answered(lab.must(in_n0("ping -q -c 20 -i 0.01 10.9.0.2")))
    return "carrier lost and found on both"


def up_down(lab: Lab) -> str:
    """Fifty times down and up."""
    lab.must("for i in $(seq 50); do ip -n n0 link set eth0 down; ip -n n0 link set eth0 up; done", 300)
    lab.must("ip -n n0 addr replace 10.9.0.1/24 dev eth0")
    lab.until("carrier after 50 times", _CARRIER)
    _all_answered(lab.must(in_n0("ping -q -c 20 -i 0.01 10.9.0.2")))
    return "50 times, then all answered"


def reload(lab: Lab) -> str:
    """rmmod and insmod."""
    for _ in range(2):
        lab.must("rmmod ixgbe; modprobe ixgbe", 90)
        lab.until("interfaces", "ip link show eth0 && ip link show eth1")
        for n in (0, 1):
            lab.must(f"{_MOVE}; {_UP}".format(n=n, a=n + 1))
        lab.until("carrier after rmmod", _CARRIER)
    _all_answered(lab.must(in_n0("ping -q -c 20 -i 0.01 10.9.0.2")))
    return "twice, then all answered"


def statistics(lab: Lab) -> str:
    """What the ports counted agrees with each other and with the wire; no error counter moved."""
    _ipv6(lab, False)  # its multicasts pass one port's filters and not the other's
    before = _nic_statistics(lab)
    sent = 0
    for size in (18, 100, 200, 400, 900, 1400):  # a size bin each; headers and CRC make them 64 to 1446 bytes
        _all_answered(lab.must(in_n0(f"ping -q -c 50 -f -s {size} 10.9.0.2")))
        sent += 50
    after = _nic_statistics(lab)
    _ipv6(lab, True)
    moved = [{key: now[key] - then.get(key, 0) for key in now} for then, now in zip(before, after, strict=True)]
    for a, b in ((0, 1), (1, 0)):
        if moved[a]["tx_pkts_nic"] != moved[b]["rx_pkts_nic"] or moved[a]["tx_pkts_nic"] < sent:
            raise CheckError(f"eth{a} sent {moved[a]['tx_pkts_nic']}, eth{b} received {moved[b]['rx_pkts_nic']}")
    missed = sum(counts["rx_missed_errors"] for counts in after)
    bad = [
        f"eth{n} {key} {value}"
        for n in (0, 1)
        for key, value in moved[n].items()
        if value and re.search("err|drop|miss|no_buffer|no_dma|timeout|fail", key)
    ]
    if bad:
        raise CheckError(", ".join(bad))
    counts = f"{moved[0]['tx_pkts_nic']} and {moved[1]['tx_pkts_nic']} packets agree at both ends"
    return f"{counts}, no error counted; {missed} missed so far"


def quiet_dmesg(lab: Lab) -> str:
    """Nothing in the kernel's log that a card would not cause."""
    bad, resets = judge_dmesg(lab.must("dmesg").splitlines())
    if bad:
        raise CheckError("; ".join(bad[:5]))
    return f"no error, no warning; {resets} resets for frames that were pending when the link went"


def judge_dmesg(lines: Sequence[str]) -> tuple[list[str], int]:
    """What the model has to answer for, and how many resets a lost link explains.

    A port whose link is down sends nothing, so a frame handed over in that moment stays in its ring, and Linux clears
    it by a reset. What that tells of the model is the rest of the story: the link was down when Linux said so, one
    reset followed, and the link came up again. A port that keeps frames while its link is up is told by Linux as a
    hang or a timeout.
    """
    bad: list[str] = []
    up: dict[str, bool] = {}
    pending: dict[str, str] = {}  # by device, what is not explained before the link is up again
    resets = 0
    for line in lines:
        if link := _LINK.search(line):
            up[link[1]] = link[2] == "Up"
            if up[link[1]] and pending.pop(link[1], ""):
                resets += 1
        elif not _BAD_DMESG.search(line):
            continue
        elif not (said := _SAYS.search(line)):
            bad.append(line)
        elif _PENDING in said[2] and up.get(said[1]) is False and said[1] not in pending:
            pending[said[1]] = line
        elif not (said[2] == _RESET and _PENDING in pending.get(said[1], "")):
            bad.append(line)
        else:
            pending[said[1]] = f"{line}: and the link stayed down"
    return [*bad, *pending.values()], resets


def iperf_mbps(lab: Lab, address: str, options: str) -> float:
    """TCP from n0 to n1 for two seconds unless `options` say otherwise."""
    server = lab.guest.start(in_n1(f"timeout 60 iperf3 -s -1 -B {address}"), 70)
    lab.until("iperf3's server", in_n1("bash -c 'ss -Hltn | grep -q :5201'"))
    text = lab.must(in_n0(f"iperf3 -c {address} -t 2 -J {options}"), 60)
    lab.guest.wait(server, 70)
    rate: float = json.loads(text)["end"]["sum_received"]["bits_per_second"] / 1e6
    if rate < 1:
        raise CheckError(f"iperf3 {options} moved {rate} Mbit/s")
    return rate


def _counts(text: str) -> tuple[int, int]:
    found = re.search(r"(\d+) packets transmitted, (\d+) received", text)
    if not found:
        raise CheckError(f"ping said: {text[-200:]}")
    return int(found[1]), int(found[2])


def _all_answered(text: str) -> None:
    sent, received = _counts(text)
    if sent != received:
        raise CheckError(f"{received} of {sent} pings answered")


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1].strip() if found else "?"


def _queue_packets(lab: Lab) -> list[int]:
    text = lab.must(in_n1("ethtool -S eth1"))
    return [int(count) for count in re.findall(r"rx_queue_[01]_packets: (\d+)", text)]


def _ipv6(lab: Lab, on: bool) -> None:
    for n in (0, 1):
        lab.must(f"ip netns exec n{n} sysctl -q -w net.ipv6.conf.eth{n}.disable_ipv6={int(not on)}")


def _nic_statistics(lab: Lab) -> list[dict[str, int]]:
    """Of both ports, once nothing moves any more: the driver reads a port's counters every two seconds, and now and
    then a port says something of its own accord."""
    both: list[str] = []
    for _ in range(10):
        found = [lab.must(f"ip netns exec n{n} ethtool -S eth{n}") for n in (0, 1)]
        if found == both:
            break
        both = found
        lab.must("sleep 2.5")
    return [{key: int(value) for key, value in re.findall(r"(\S+): (\d+)", text)} for text in both]


_COMMON = (
    ("bind", bind),
    ("ping", ping),
    ("iperf3", iperf),
    ("vlan", vlan),
    ("statistics", statistics),
    ("rss", channels),
    ("features", toggles),
    ("rings", rings),
    ("jumbo", jumbo),
    ("filters", filters),
    ("cable", cable),
    ("up-down", up_down),
    ("reload", reload),
    ("faults", no_faults),
    ("self-test", self_test),
    ("dmesg", quiet_dmesg),
)
_INTX = (
    ("bind", bind),
    ("interrupts", interrupts),
    ("ping", ping),
    ("iperf3", iperf),
    ("cable", cable),
    ("faults", no_faults),
)
_BEHIND_IOMMU = ("bind", "ping", "iperf3", "jumbo", "cable", "reload", "faults", "dmesg")
_COPPER = ("bind", "ping", "iperf3", "rss", "jumbo", "cable", "reload", "faults", "self-test", "dmesg")
LINUX_CHECKS = (
    Check(
        "linux-ixgbe",
        "Linux's ixgbe on two 10FB ports with SFP+ modules",
        (*_COMMON[:5], ("module", module), *_COMMON[5:]),
    ),
    Check(
        "linux-ixgbe-intx",
        "10FB ports in a machine without message-signalled interrupts",
        _INTX,
        hardware=Hardware(kernel="pci=nomsi"),
    ),
    Check(
        "linux-ixgbe-iommu",
        "10FB ports behind an IOMMU: Linux maps and unmaps each buffer",
        tuple(step for step in _COMMON if step[0] in _BEHIND_IOMMU),
        hardware=Hardware(iommu=True, kernel="iommu.passthrough=0"),
    ),
    Check(
        "linux-ixgbe-empty",
        "10FB ports with nothing in the SFP+ cage",
        (("no-module", no_module), ("faults", no_faults)),
        model_options=("--no-module",),
    ),
    *(
        Check(
            f"linux-ixgbe-{name}",
            f"the same driver on two {name.upper()} ports with their copper PHYs",
            tuple(step for step in _COMMON if step[0] in _COPPER),
            device_id=device_id,
        )
        for name, device_id in (("x540", "1528"), ("x550", "1563"))
    ),
    Check("linux-ixgbe-10f9", "the same on two 10F9 (CX4) ports", (*_COMMON, ("dumps", dumps)), device_id="10f9"),
)
