"""The plan of a run: the same for the same input, complete, and without the machine's resources."""

import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.config.default import default_config
from ixyfwd.config.schema import Config, CpuConfig, ForwardConfig, Idle, PortConfig, RssConfig
from ixyfwd.nic.options import FlowControl
from ixyfwd.plan.make import MachineCpus, device_kind, make_plan
from ixyfwd.plan.plan import Plan

CPUS = st.sets(st.integers(0, 63), min_size=1, max_size=24)
DEVICES = {"sim": "sim:x", "vfio-user": "vfio-user:/x.sock", "card": "0000:03:00.0"}


def planned(cpus: set[int], workers: int | None, batch: int = 64, ring: int = 512) -> Plan:
    config = default_config(sorted(cpus))
    forward = replace(config.forward, batch=batch, ring_size=ring)
    return make_plan(replace(config, cpu=CpuConfig(workers=workers), forward=forward), MachineCpus(cpus))


@given(CPUS, st.one_of(st.none(), st.integers(1, 16)), st.sampled_from([1, 32, 64]), st.sampled_from([128, 512, 4096]))
def test_a_plan_holds_together(cpus: set[int], workers: int | None, batch: int, ring: int) -> None:
    plan = planned(cpus, workers, batch, ring)
    assert plan == planned(cpus, workers, batch, ring)
    assert len(plan.workers) == (workers or len(plan.workers)) and 1 <= len(plan.workers) <= 16
    assert [worker.index for worker in plan.workers] == list(range(len(plan.workers)))
    assert all(worker.cpu in cpus for worker in plan.workers)
    assert [worker.layout for worker in plan.workers] == list(plan.arena.workers)
    assert all(worker.links == ((0, 1), (1, 0)) for worker in plan.workers)
    for port in plan.ports:
        owners = port.options.rss.table(128)
        assert len(owners) == 128 and set(owners) == set(range(len(plan.workers)))
    for layout in plan.arena.workers:
        assert layout.buffers >= len(plan.ports) * (2 * ring + batch)
    assert plan.model is not None and plan.model.cpu in cpus
    busy = [*(worker.cpu for worker in plan.workers), plan.model.cpu]
    assert plan.model.shared_cpu == (len(set(busy)) < len(busy)) == plan.workers[0].shared_cpu


def test_a_plan_is_plain_data() -> None:
    plan = planned({0, 1}, 2)
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert hash(plan) == hash(planned({0, 1}, 2))


@pytest.mark.parametrize(
    ("devices", "kind"),
    [(("sim",), "model"), (("vfio-user", "sim"), "model"), (("card",), "wire"), (("card", "sim"), "mixed")],
)
def test_what_kind_of_device_a_run_is_on(devices: tuple[str, ...], kind: str) -> None:
    ports = tuple(PortConfig(f"p{n}", DEVICES[name]) for n, name in enumerate(devices))
    assert device_kind(Config(ports, ())) == kind


def test_only_simulated_ports_need_the_model() -> None:
    plan = make_plan(Config((PortConfig("a", DEVICES["card"]),), ()), MachineCpus((0, 1, 2)))
    assert plan.model is None and plan.device == "wire"
    assert [worker.cpu for worker in plan.workers] == [0, 1, 2]


def test_each_key_of_the_configuration_arrives() -> None:
    ports = (
        PortConfig("a", DEVICES["card"], promiscuous=False, mac_filters=("02:00:00:00:00:01",), flow_control="tx"),
    )
    forward = ForwardConfig(idle="interrupt", interrupt_interval_us=20, max_frame=9018, engine="vector")
    plan = make_plan(
        Config(ports, (), "x", CpuConfig(nice=-5), forward, RssConfig(fields=("ipv4",))), MachineCpus((0,))
    )
    options = plan.ports[0].options
    assert (options.promiscuous, options.mac_filters, options.flow_control) == (
        False, ("02:00:00:00:00:01",), FlowControl.TX
    )  # fmt: skip
    assert (options.max_frame_bytes, options.rss.fields, options.frames_wait) == (9018, ("ipv4",), True)
    assert (plan.interrupt_interval_us, plan.nice, plan.instance) == (20, -5, "x")
    assert (plan.loop.engine, plan.loop.segmented, plan.loop.fused, plan.loop.idle) == (
        "vector",
        True,
        False,
        "interrupt",
    )
    assert make_plan(Config(ports, ()), MachineCpus((0,))).interrupt_interval_us is None


@pytest.mark.parametrize("idle", ["spin", "adaptive", "sleep"])
def test_no_other_idle_policy_asks_for_interrupts(idle: Idle) -> None:
    ports = (PortConfig("a", DEVICES["card"]),)
    plan = make_plan(Config(ports, (), forward=ForwardConfig(idle=idle)), MachineCpus((0,)))
    assert (plan.loop.idle, plan.interrupt_interval_us) == (idle, None)
