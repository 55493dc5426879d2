"""What stands against taking a device, and which devices there are, on machines made of files."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ixyfwd.config.load import load_config
from ixyfwd.errors import IxyfwdError, RefusedError, UsageError
from ixyfwd.host.altnames import alternative_names
from ixyfwd.host.bind import bind
from ixyfwd.host.devices import find_device, network_devices, read_device
from ixyfwd.host.journal import load
from ixyfwd.host.kernel import Kernel
from ixyfwd.host.names import board_names
from ixyfwd.host.restore import unbind
from ixyfwd.host.routes import routes
from ixyfwd.host.usage import look, reasons, ssh_address
from ixyfwd.kit.pciaddress import is_pci_address, pci_address
from ixyfwd.model.wires.tap import open_tap
from ixyfwd.pci.open import Opener
from tests.testing.host_fake import ROUTE_HEAD, FakeKernel
from tests.testing.support import run

A = "0000:01:00.0"
DEFAULT4 = "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
SUBNET4 = "eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
OTHER4 = "eth0\t0000A8C0\t0100000A\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
REJECT4 = "eth0\t0000A8C0\t0100000A\t0201\t0\t0\t0\t0000FFFF\t0\t0\t0\n"


def ipv6_line(network: str, length: int, flags: int = 1, interface: str = "eth0") -> str:
    zero = "0" * 32
    return f"{network:0<32} {length:02x} {zero} 00 {zero} 00000100 00000001 00000000 {flags:08x} {interface:>8}\n"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """One ixgbe port, eth0, not in use."""
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    kernel = FakeKernel(tmp_path)
    kernel.add_device(A)
    return kernel


def found(kernel: FakeKernel) -> list[tuple[str, str]]:
    device = read_device(kernel, A)
    assert device is not None
    return [(reason.kind, reason.text) for reason in reasons(kernel, device, look(kernel))]


# in use


def test_a_link_local_address_is_no_use(kernel: FakeKernel) -> None:
    kernel.ips["eth0"] = ("fe80::1/64",)
    kernel.put("/proc/net/ipv6_route", ipv6_line("fe80", 64) + ipv6_line("ff00", 8))
    assert found(kernel) == []


def test_an_address(kernel: FakeKernel) -> None:
    kernel.ips["eth0"] = ("10.0.0.1/24", "2001:db8::1/64")
    kernel.put("/proc/net/route", ROUTE_HEAD + SUBNET4)  # comes with the address: not told again
    assert found(kernel) == [
        ("address", "eth0 has the address 10.0.0.1/24"),
        ("address", "eth0 has the address 2001:db8::1/64"),
    ]


def test_routes(kernel: FakeKernel) -> None:
    kernel.put("/proc/net/route", ROUTE_HEAD + OTHER4 + DEFAULT4)
    kernel.put("/proc/net/ipv6_route", ipv6_line("20010db8", 32) + ipv6_line("", 0) + ipv6_line("", 0, 0x200, "lo"))
    assert found(kernel) == [
        ("default-route", "eth0 has the IPv4 default route"),
        ("default-route", "eth0 has the IPv6 default route"),
        ("route", "eth0 has a route to 192.168.0.0/16"),
        ("route", "eth0 has a route to 2001:db8::/32"),
    ]


def test_routes_of_others_and_those_that_lead_nowhere_are_no_use(kernel: FakeKernel) -> None:
    kernel.put("/proc/net/route", ROUTE_HEAD + DEFAULT4.replace("eth0", "eth9") + REJECT4)
    own = ipv6_line("20010db8", 128, 0x8020_0001)  # the table of local addresses
    kernel.put("/proc/net/ipv6_route", own + ipv6_line("20010db8", 32, interface="eth9"))
    assert found(kernel) == []


@pytest.mark.parametrize(("kind", "said"), [("bridge", "bridge"), ("bond", "bond"), ("vrf", "vrf"), ("", "device")])
def test_membership(kernel: FakeKernel, kind: str, said: str) -> None:
    kernel.add_upper("over0", "eth0", kind, master=True)
    assert found(kernel) == [("upper", f"eth0 is part of the {said} over0")]


@pytest.mark.parametrize(("kind", "said"), [("vlan", "VLAN"), ("macvlan", "macvlan"), ("", "interface")])
def test_interfaces_on_top(kernel: FakeKernel, kind: str, said: str) -> None:
    kernel.add_upper("eth0.5", "eth0", kind)
    assert found(kernel) == [("upper", f"the {said} eth0.5 is on top of eth0")]


def test_a_team_or_an_old_bridge_is_known_by_its_folder(kernel: FakeKernel) -> None:
    kernel.add_upper("br0", "eth0", master=True)
    kernel.at("/sys/class/net/br0/bridge").mkdir()
    assert found(kernel) == [("upper", "eth0 is part of the bridge br0")]


@pytest.mark.parametrize(
    ("address", "client"),
    [("10.0.0.1/24", "10.0.0.9 50000 10.0.0.1 22"), ("fe80::1/64", "fe80::9%eth0 50000 fe80::1%eth0 22")],
)
def test_the_ssh_session(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch, address: str, client: str) -> None:
    kernel.ips["eth0"] = (address,)
    monkeypatch.setenv("SSH_CONNECTION", client)
    assert found(kernel)[0][0] == "ssh"
    kernel.ips["eth0"] = ("10.0.0.2/24",)
    assert [kind for kind, _ in found(kernel)] == ["address"]


def test_the_ssh_session_through_a_vlan_on_a_bridge(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.add_upper("br0", "eth0", "bridge", master=True)
    kernel.add_upper("br0.7", "br0", "vlan")
    kernel.ips["br0.7"] = ("10.0.0.1/24",)
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.9 50000 ::ffff:10.0.0.1 22")
    assert found(kernel) == [
        ("ssh", "eth0 carries the ssh session that you type this into (::ffff:10.0.0.1)"),
        ("upper", "eth0 is part of the bridge br0"),
    ]


def test_sudo_hides_the_ssh_session_and_the_parents_tell_it(kernel: FakeKernel) -> None:
    kernel.put("/proc/30/stat", "30 (sudo) S 20 30 30")
    kernel.put("/proc/20/stat", "20 (an odd) name) S 10 20 20")
    kernel.put("/proc/20/environ", "A=b\0SSH_CONNECTION=10.0.0.9 50000 10.0.0.1 22\0C=d\0")
    assert ssh_address(kernel, {}, 30) == "10.0.0.1"
    assert ssh_address(kernel, {"SSH_CONNECTION": "garbage"}, 30) == "10.0.0.1"
    assert ssh_address(kernel, {}, 20) == ""
    assert ssh_address(kernel, {}, 99) == ""


def test_a_driver_without_a_visible_interface(kernel: FakeKernel) -> None:
    kernel.add_device("0000:02:00.0", interface="")
    device = read_device(kernel, "0000:02:00.0")
    assert device is not None
    (reason,) = reasons(kernel, device, look(kernel))
    assert reason.kind == "namespace" and "another network namespace" in reason.text
    kernel.add_device("0000:03:00.0", driver="vfio-pci", interface="")
    held = read_device(kernel, "0000:03:00.0")
    assert held is not None and reasons(kernel, held, look(kernel)) == ()


def test_virtual_functions(kernel: FakeKernel) -> None:
    kernel.put(f"/sys/bus/pci/devices/{A}/sriov_numvfs", "4")
    assert found(kernel) == [("virtual-functions", "4 virtual functions hang on it and would vanish")]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300))
def test_route_tables_may_hold_anything(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    kernel = FakeKernel(tmp_path_factory.mktemp("routes"))
    kernel.put("/proc/net/route", ROUTE_HEAD + text)
    kernel.put("/proc/net/ipv6_route", text)
    routes(kernel)


# devices


def test_what_a_device_says_of_itself(kernel: FakeKernel) -> None:
    path = f"/sys/bus/pci/devices/{A}"
    kernel.put(f"{path}/current_link_speed", "5.0 GT/s PCIe")
    kernel.put(f"{path}/current_link_width", "8")
    kernel.put("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages", "12")
    kernel.put("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "99")
    (device,) = network_devices(kernel)
    assert (device.id, device.driver, device.numa_node, device.pcie_speed) == ("8086:10fb", "ixgbe", 0, "5.0 GT/s PCIe")
    assert (device.pcie_width, device.hugepages_free, device.driver_override) == (8, 12, "")
    (interface,) = device.interfaces
    assert (interface.name, interface.up, interface.carrier, interface.speed_mbps) == ("eth0", True, True, 10000)
    kernel.put(f"{path}/numa_node", "-1")
    assert network_devices(kernel)[0].hugepages_free == 99


def test_a_file_that_cannot_be_read_is_a_fact_that_is_not_known(kernel: FakeKernel) -> None:
    path = f"/sys/bus/pci/devices/{A}"
    for name in ("numa_node", "net/eth0/speed", "net/eth0/carrier"):
        kernel.put(f"{path}/{name}", "garbage")
    (device,) = network_devices(kernel)
    assert (device.numa_node, device.interfaces[0].speed_mbps, device.interfaces[0].carrier) == (-1, None, None)


@pytest.mark.parametrize("name", [A, "01:00.0", "0000:01:00.0".upper(), "eth0"])
def test_a_device_goes_by_address_and_by_interface(kernel: FakeKernel, name: str) -> None:
    assert find_device(kernel, name).address == A


LONG_NAME = "the-uplink-to-the-second-rack"  # longer than IFNAMSIZ, as an alternative name may be


@pytest.mark.parametrize("name", ["enp1s0f0", LONG_NAME])
def test_a_device_goes_by_an_alternative_name(kernel: FakeKernel, name: str) -> None:
    kernel.listed_alternatives = {"eth0": ("enp1s0f0", LONG_NAME), "lo": ("loop",)}
    assert find_device(kernel, name).address == A
    bind(kernel, [name], "none", force=False)
    with pytest.raises(UsageError, match="neither a PCI address"):
        find_device(kernel, name)
    assert unbind(kernel, [name])[0].interfaces == ("eth0",)


@pytest.mark.root
def test_the_kernel_tells_alternative_names() -> None:
    name = f"ixa{os.getpid() % 10**6}"
    assert alternative_names().keys() == {interface for _, interface in socket.if_nameindex()}
    run("ip", "tuntap", "add", "mode", "tap", name)
    try:
        for other in (f"{name}-alt", LONG_NAME):
            assert run("ip", "link", "property", "add", "dev", name, "altname", other).returncode == 0
        assert alternative_names()[name] == (f"{name}-alt", LONG_NAME)
        with pytest.raises(UsageError, match=f"the interface {name} does not belong to a PCI device"):
            find_device(Kernel(), LONG_NAME)
        with pytest.raises(RefusedError, match="exists already"):
            open_tap(f"{name}-alt")
    finally:
        run("ip", "link", "del", name)


@pytest.mark.parametrize(
    ("text", "full"),
    [("10000:e1:00.0", "10000:e1:00.0"), ("9B8C2:00:02.0", "9b8c2:00:02.0"), ("00010000:E1:00.0", "10000:e1:00.0")],
)
def test_a_domain_may_have_more_digits_than_four(tmp_path: Path, text: str, full: str) -> None:
    """VMD and Hyper-V have such; before, `bind` took them and a configuration did not."""
    assert pci_address(text) == full and is_pci_address(full)
    config = tmp_path / "c.toml"
    ports = f'[[port]]\nname = "a"\ndevice = "{text}"\n[[port]]\nname = "b"\ndevice = "03:00.1"\n'
    config.write_text(f'{ports}[[link]]\nports = ["a", "b"]\n')
    assert [port.device for port in load_config(config).ports] == [full, "0000:03:00.1"]
    devices = tmp_path / "sys/bus/pci/devices"
    (devices / full).mkdir(parents=True)
    with Opener(tmp_path) as opener, pytest.raises(IxyfwdError) as found:
        opener.open(full)
    assert "of no known kind" not in str(found.value)
    kernel = FakeKernel(tmp_path / "root")
    kernel.add_device(full, driver="ixgbe", interface="eth0")
    bind(kernel, [text], "none", force=False)
    assert load(kernel)[full].address == full
    assert unbind(kernel, [text])[0].driver == "ixgbe"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("02:00.0", "no PCI device at 0000:02:00.0"),
        ("eth7", "neither a PCI address .* nor an interface"),
        ("", "neither a PCI address"),
        ("../../x", "neither a PCI address"),
        ("br0", "the interface br0 does not belong to a PCI device"),
        ("0000:05:00.0", r"0000:05:00.0 \(144d:a808, driver nvme\) is not a network device \(class 010802\)"),
    ],
)
def test_names_that_mean_no_network_device(kernel: FakeKernel, name: str, said: str) -> None:
    kernel.add_upper("br0", "eth0")
    kernel.add_device("0000:05:00.0", driver="nvme", interface="", ids="144d:a808", class_code="0x010802")
    with pytest.raises(UsageError, match=said):
        find_device(kernel, name)


@pytest.mark.parametrize("text", ["", "1:00.0", "0000:01:00.8", "0000:01:20.0", "0000:01:00", "sim:p0"])
def test_what_is_no_pci_address(text: str) -> None:
    assert pci_address(text) is None


def test_names_of_boards(kernel: FakeKernel) -> None:
    for key, text in {"subsystem_vendor": "0x8086", "subsystem_device": "0x0003"}.items():
        kernel.put(f"/sys/bus/pci/devices/{A}/{key}", text)
    devices = network_devices(kernel)
    assert board_names(kernel, devices) == {}
    head = "# list\n\n1234  Other\n\t10fb  Wrong\n8086  Intel Corporation\n\t10fa  Wrong\n\t\t8086 0003  Wrong\n"
    chip = "\t10fb  82599ES 10-Gigabit\n\t\t1014 0003  Wrong\n"
    kernel.put("/usr/share/misc/pci.ids", f"{head}{chip}\t10fc  Wrong\n\t\t8086 0003  Wrong")
    assert board_names(kernel, devices) == {A: "82599ES 10-Gigabit"}
    kernel.put("/usr/share/misc/pci.ids", f"{head}{chip}\t\t8086 0003  X520-2")
    assert board_names(kernel, devices) == {A: "X520-2"}


def test_this_machine_can_be_read() -> None:
    """Nothing is assumed of it but that reading works."""
    kernel = Kernel()
    network = look(kernel)
    for device in network_devices(kernel):
        assert kernel.exists(device.path)
        reasons(kernel, device, network)
    assert "lo" in network.addresses
