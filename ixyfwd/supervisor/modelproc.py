"""The model process behind the `sim:` ports of a configuration."""

from dataclasses import replace
from pathlib import Path

from ixyfwd.config.schema import Config, PortConfig
from ixyfwd.errors import IxyfwdError
from ixyfwd.kit.children import Child
from ixyfwd.model.client import ModelClient
from ixyfwd.model.spec import ModelSpec, PortSpec, TapWire, Wire, default_mac
from ixyfwd.supervisor.instance import Instance

READY_TIMEOUT_S = 10.0


def model_spec(config: Config, instance: Instance, cpu: int | None, share_cpu: bool) -> ModelSpec | None:
    """The one model process that serves all `sim:` ports, or None if there are none."""
    ports = tuple(
        _port_spec(port, instance, default_mac(index), _with_mtu(port.wire, config.forward.mtu))
        for index, port in enumerate(config.ports)
        if port.wire is not None
    )
    if not ports:
        return None
    return ModelSpec(ports, str(instance.socket("model")), cpu, share_cpu, nice=config.cpu.nice)


def _port_spec(port: PortConfig, instance: Instance, mac: str, wire: Wire) -> PortSpec:
    spec = PortSpec(name=port.name, socket=str(instance.socket(port.name)), mac=mac, wire=wire)
    return spec if port.device_id is None else replace(spec, device_id=port.device_id)


def _with_mtu(wire: Wire, mtu: int) -> Wire:
    return replace(wire, mtu=mtu) if isinstance(wire, TapWire) else wire


class ModelProcess:
    """A running model with the client that steers its wires."""

    def __init__(self, spec: ModelSpec) -> None:
        """Start it and wait until it listens. Raises what `Child.wait_ready` and ModelClient do."""
        self.spec = spec
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
            spec.as_json(),
        )
        try:
            self.child.wait_ready(READY_TIMEOUT_S)
            self.client = ModelClient(spec.control)
        except BaseException:
            self.child.end(0)
            raise

    def end(self) -> None:
        """Ask it to quit, then insist; remove its sockets. Harmless when called twice."""
        if self.child.alive():
            try:
                self.client.quit()
            except (IxyfwdError, OSError):
                self.child.end(0)
        self.child.end(0.5)
        self.client.close()
        for path in (self.spec.control, *(port.socket for port in self.spec.ports if port.socket)):
            Path(path).unlink(missing_ok=True)
