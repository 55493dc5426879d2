"""The model process behind the `sim:` ports of a configuration."""

import os
from dataclasses import replace
from pathlib import Path

from ixyfwd.errors import IxyfwdError
from ixyfwd.kit.children import Child, wait_until
from ixyfwd.kit.heartbeat import Heartbeat, new_heartbeat_fd
from ixyfwd.model.client import ModelClient
from ixyfwd.model.spec import ModelSpec, PortSpec
from ixyfwd.plan.plan import ModelPortPlan, Plan
from ixyfwd.supervisor.instance import Instance
from ixyfwd.supervisor.pulse import Pulse
from ixyfwd.telemetry.snapshot import ModelState

READY_TIMEOUT_S = 10.0
TURN_STEP_S = 0.0005  # half a turn of its loop


def model_spec(plan: Plan, instance: Instance) -> ModelSpec | None:
    """The one model process that serves all `sim:` ports, or None if there are none."""
    model = plan.model
    if model is None:
        return None
    ports = tuple(_port_spec(port, instance) for port in model.ports)
    return ModelSpec(ports, str(instance.socket("model")), model.cpu, model.shared_cpu, nice=plan.nice)


def _port_spec(port: ModelPortPlan, instance: Instance) -> PortSpec:
    spec = PortSpec(name=port.name, socket=str(instance.socket(port.name)), mac=port.mac, wire=port.wire)
    return spec if port.device_id is None else replace(spec, device_id=port.device_id)


class ModelProcess:
    """A running model with the client that steers its wires."""

    def __init__(self, spec: ModelSpec) -> None:
        """Start it and wait until it listens. Raises what `Child.wait_ready` and ModelClient do."""
        self.spec = spec
        heartbeat_fd = new_heartbeat_fd()
        try:
            self._heartbeat = Heartbeat(heartbeat_fd)
            self.child = Child(
                "the model",
                lambda spec_fd, ready_fd: [
                    "-m",
                    "ixyfwd.model",
                    "--spec-fd",
                    str(spec_fd),
                    "--ready-fd",
                    str(ready_fd),
                ],
                replace(spec, heartbeat_fd=heartbeat_fd).as_json(),
                (heartbeat_fd,),
            )
        finally:
            os.close(heartbeat_fd)
        self.pulse = Pulse(self.child.pid, lambda: self._heartbeat.count)
        try:
            self.child.wait_ready(READY_TIMEOUT_S)
            self.client = ModelClient(spec.control)
        except BaseException:
            self.child.end(0)
            raise

    def turns(self, timeout_s: float) -> bool:
        """Whether its loop goes on, seen within `timeout_s`: then it will answer, and its registers can be touched.
        True for one that has ended: to touch it says so."""
        before = self._heartbeat.count
        return wait_until(lambda: self._heartbeat.count != before or not self.child.alive(), timeout_s, TURN_STEP_S)

    @property
    def said(self) -> ModelState:
        """The state of the process for reports."""
        if not self.child.alive():
            return "dead"
        return self.pulse.glance() or "running"

    def end(self) -> None:
        """Ask it to quit, then insist; remove its sockets. Harmless when called twice."""
        if self.child.alive():
            try:
                self.client.quit()
            except (IxyfwdError, OSError):
                self.child.end(0)
        self.child.end(0.5)
        self.client.close()
        self._heartbeat.close()
        for path in (self.spec.control, *(port.socket for port in self.spec.ports if port.socket)):
            Path(path).unlink(missing_ok=True)
