"""The check of a run's options against a port's own limits; the configuration was held to the widest ones only."""

from ixyfwd.errors import UsageError
from ixyfwd.nic.contract import NicPort
from ixyfwd.nic.options import PortOptions
from ixyfwd.nic.words import either


def check_limits(port: NicPort, options: PortOptions, ring_entries: int, interrupt_interval_us: int | None) -> None:
    """Check that a port can do what a run asks of it; the device is not touched.

    `ring_entries`: descriptors of each ring. Raises UsageError with the first option
    that the port cannot keep, and the key to change.
    """
    limits = port.limits
    found = (
        (options.rss.queues, limits.queues, "[cpu] workers", "workers, a receive queue for each"),
        (options.max_frame_bytes, limits.max_frame_bytes, "[forward] max_frame", "bytes"),
        (len(options.mac_filters), limits.mac_filters, "mac_filters", "addresses"),
        (interrupt_interval_us or 0, limits.interrupt_interval_us, "[forward] interrupt_interval_us", "microseconds"),
    )
    where = f"port {port.name} ({port.attachment.address})"
    for value, limit, key, unit in found:
        if value > limit:
            raise UsageError(f"{where}: {key}: found {value}, expected at most {limit} {unit} ({limits.family})")
    if ring_entries not in limits.ring_sizes:
        expected = f"{either(limits.ring_sizes)} ({limits.family})"
        raise UsageError(f"{where}: [forward] ring_size: found {ring_entries}, expected {expected}")
