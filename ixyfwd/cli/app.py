"""The `ixyfwd` command: what can be typed. What a command does is imported when it runs, so that `--help` is quick."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ixyfwd import __version__
from ixyfwd.bench.cli import app as bench
from ixyfwd.cli.failures import guarded
from ixyfwd.cli.traffic_options import capture_command, generate_command
from ixyfwd.errors import UsageError

InstanceOption = Annotated[
    str, typer.Option("--instance", metavar="NAME", help="Name of the running instance.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on the last line of the output.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="Configuration (TOML); without one: two simulated ports."),
]

DeviceArgument = Annotated[
    list[str], typer.Argument(metavar="DEVICE...", help="PCI address or interface name.", show_default=False)
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show every step and take none.")]


def run(argv: Sequence[str], begun_ns: int | None = None) -> int:
    """Run one command line; returns the exit code. `begun_ns`: CLOCK_MONOTONIC when the process began."""
    command = typer.main.get_command(build_app())
    _list_whole_sentences(command)
    return guarded(lambda: command.main(args=list(argv), prog_name="ixyfwd", standalone_mode=False, obj=begun_ns), argv)


def build_app() -> typer.Typer:
    """All commands. Plain help texts: rich would double the time that `--help` takes."""
    app = _new_app("A forwarding appliance for the Intel 82599: a driver, a model of the chip, one worker per core.")
    app.callback()(_global_options)
    app.command("generate")(generate_command)
    app.command("capture")(capture_command)
    for command in (
        *(start, stop, status, stats, ports, workers, events, instances),
        *(rss, model, inject, devices, bind, unbind, doctor, registers),
    ):
        app.command()(command)
    app.command("fault", hidden=True, deprecated=True)(inject)  # its old name, for one release
    config = _new_app("Configuration files.")
    config.callback()(lambda: None)  # keeps `check` a command of its own while it is the only one
    config.command("check")(config_check)
    app.add_typer(config, name="config")
    app.add_typer(bench, name="bench")
    return app


def _list_whole_sentences(command: Any) -> None:
    """Have lists of commands wrap what each is for: by itself click cuts it to a line, however wide the terminal is."""
    for below in getattr(command, "commands", {}).values():
        below.short_help = " ".join((below.help or "").partition("\n\n")[0].split())
        _list_whole_sentences(below)


def _new_app(text: str) -> typer.Typer:
    return typer.Typer(
        help=text,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ixyfwd {__version__}")
        raise typer.Exit


def _global_options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """A forwarding appliance for the Intel 82599: a driver, a model of the chip, one worker per core."""


def start(  # noqa: PLR0917 - one parameter per option is typer's way
    context: typer.Context,
    config: ConfigOption = None,
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="S", help="Stop after so many seconds of forwarding.")
    ] = None,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="Stop when every wire has fed all it has (a count, a capture file).")
    ] = False,
    json: JsonOption = False,
    instance: Annotated[
        str | None, typer.Option("--instance", metavar="NAME", help="Name of this instance; default: the file's.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the final report.")] = False,
) -> int:
    """Bring ports up and forward until stopped (Ctrl-C, `ixyfwd stop`)."""
    from ixyfwd.cli.start import StartOptions, start_command  # noqa: PLC0415

    return start_command(StartOptions(config, duration, until_done, json, instance, quiet, context.obj))


def stop(
    instance: Annotated[
        str | None, typer.Option("--instance", metavar="NAME", help="Name of the running instance; default: default.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All instances of this user: runs, bench, generate, capture and model.")
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="S", help="How long to wait for the end.", min=0.1, max=600)
    ] = 10.0,
    json: JsonOption = False,
) -> int:
    """Stop a running instance in order and wait for its end."""
    if not everything:
        from ixyfwd.cli.control import stop_command  # noqa: PLC0415

        stop_command(instance or "default", timeout, json)
        return 0
    if instance is not None:
        raise UsageError("--all: found with --instance, expected one of the two")
    from ixyfwd.cli.instances import stop_all_command  # noqa: PLC0415

    return stop_all_command(timeout, json)


def instances(json: JsonOption = False) -> None:
    """The instances of this user that run: name, process, uptime, ports."""
    from ixyfwd.cli.instances import instances_command  # noqa: PLC0415

    instances_command(json)


def status(
    instance: InstanceOption = "default",
    json: JsonOption = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Show the JSON schema of status and final reports; none need run.")
    ] = False,
) -> None:
    """How a running instance is doing."""
    from ixyfwd.cli.control import schema_command, show_command  # noqa: PLC0415

    if schema:
        schema_command()
    else:
        show_command("status", instance, json)


def stats(instance: InstanceOption = "default", json: JsonOption = False) -> None:
    """All counters of a running instance."""
    from ixyfwd.cli.control import show_command  # noqa: PLC0415

    show_command("stats", instance, json)


def ports(instance: InstanceOption = "default", json: JsonOption = False) -> None:
    """Ports of a running instance."""
    from ixyfwd.cli.control import show_command  # noqa: PLC0415

    show_command("ports", instance, json)


def workers(instance: InstanceOption = "default", json: JsonOption = False) -> None:
    """Workers of a running instance."""
    from ixyfwd.cli.control import show_command  # noqa: PLC0415

    show_command("workers", instance, json)


def events(
    instance: Annotated[
        str, typer.Option("--instance", metavar="NAME", help="Name of the instance, running or not.")
    ] = "default",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with those that come, until Ctrl-C.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """What has happened to an instance: its last 512 changes of state."""
    from ixyfwd.cli.events import events_command  # noqa: PLC0415

    events_command(instance, follow, json)


def rss(  # noqa: PLR0917 - one parameter per option is typer's way
    flows: Annotated[
        list[str],
        typer.Argument(metavar="FLOW...", help='Such as "udp 10.0.0.1:1234 10.0.0.2:80".', show_default=False),
    ],
    queues: Annotated[
        int | None, typer.Option("--queues", metavar="N", help="Queues; default: the workers of the configuration.")
    ] = None,
    reta: Annotated[
        int | None,
        typer.Option("--reta", metavar="N", help="Entries of the redirection table: 128, or 512 on an X550."),
    ] = None,
    config: ConfigOption = None,
    instance: Annotated[
        str | None, typer.Option("--instance", metavar="NAME", help="As this running instance does it.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Predict the queue (= worker) of flows and how evenly they spread."""
    from ixyfwd.cli.rss import RssQuestion, rss_command  # noqa: PLC0415

    rss_command(flows, RssQuestion(queues, reta, config, instance), json)


def model(  # noqa: PLR0917 - one parameter per option is typer's way
    port: Annotated[
        list[str],
        typer.Option(
            "--port",
            metavar="[NAME=]SOCKET",
            help="Where a port listens; sysfs:DIR instead: a device directory for sysfs-style drivers.",
            show_default=False,
        ),
    ],
    wire: Annotated[
        list[str],
        typer.Option(
            "--wire",
            metavar="WIRE",
            help='What is at its far end, one for each --port: "generator:flows=4,frame=imix", "tap:NAME", '
            '"pcap:replay=FILE", "cable:PORT", "none", or a TOML table as in a configuration.',
            show_default=False,
        ),
    ],
    device_id: Annotated[
        str,
        typer.Option("--device-id", metavar="ID", help="10fb, 10f9 or 10f7 (82599), 1528 (X540), 1563 (X550)."),
    ] = "10fb",
    mac: Annotated[
        list[str] | None, typer.Option("--mac", metavar="MAC", help="Station address, one for each --port.")
    ] = None,
    mmap: Annotated[
        bool, typer.Option("--mmap/--no-mmap", help="Let the client map doorbell pages; not trapped there any more.")
    ] = False,
    module: Annotated[
        bool, typer.Option("--module/--no-module", help="A direct-attach cable is in the SFP+ cages, or nothing.")
    ] = True,
    cpu: Annotated[
        int | None, typer.Option("--cpu", metavar="N", help="Poll on this CPU; without it: sleep when nothing moves.")
    ] = None,
    control: Annotated[
        str | None, typer.Option("--control", metavar="SOCKET", help="Default: the first port's with .control added.")
    ] = None,
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="S", help="Stop after so many seconds.")
    ] = None,
    json: JsonOption = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="A line a second, also into a pipe.")] = False,
) -> int:
    """The bundled 82599 by itself, over vfio-user or as a device directory: for QEMU and other people's drivers."""
    from ixyfwd.cli.model import model_command  # noqa: PLC0415
    from ixyfwd.config.standalone import StandaloneOptions  # noqa: PLC0415

    options = StandaloneOptions(port, wire, mac or (), device_id, mmap, module, cpu, control)
    return model_command(options, duration, json, verbose)


def devices(
    everything: Annotated[
        bool, typer.Option("--all", help="Also network devices that ixyfwd has no driver for.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """The network devices of this machine: driver, interface, node, link, and what they are in use for."""
    from ixyfwd.cli.devices import devices_command  # noqa: PLC0415

    devices_command(everything, json)


def bind(
    device: DeviceArgument,
    driver: Annotated[
        str | None,
        typer.Option(
            "--driver",
            metavar="DRIVER",
            help="vfio-pci, or none (for access through sysfs); default: vfio-pci where there is an IOMMU.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also a device that is in use: its traffic ends.")] = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Take devices from their kernel driver, so that ixyfwd can drive them."""
    from ixyfwd.cli.bind import bind_command  # noqa: PLC0415

    bind_command(device, driver, force=force, dry_run=dry_run, json=json)


def unbind(
    device: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DEVICE...]", help="PCI address, or the interface that it had.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every device that `bind` has taken.")] = False,
    restore: Annotated[
        bool, typer.Option("--restore", help="Only what a crash left half done; devices that are bound stay so.")
    ] = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Give devices back to the kernel driver that they were taken from."""
    from ixyfwd.cli.bind import unbind_command  # noqa: PLC0415

    unbind_command(device or (), everything=everything, restore_only=restore, dry_run=dry_run, json=json)


def doctor(
    config: ConfigOption = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Also keep the workers' and the model's CPUs busy for a moment and watch them."),
    ] = False,
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="S", help="How long to measure; 1 if left out.")
    ] = None,
    port: Annotated[
        str | None,
        typer.Option("--port", metavar="ADDRESS", help="The report of one device that no run drives, instead."),
    ] = None,
    json: JsonOption = False,
) -> int:
    """Whether this machine is ready: what was found, what is wanted, and the command that fixes it."""
    if port is not None:
        from ixyfwd.cli.inspection import report_command  # noqa: PLC0415

        if config is not None or measure or seconds is not None:
            raise UsageError("--port: found with --config, --measure or --seconds, which are about the machine")
        return report_command(port, json)
    from ixyfwd.cli.doctor import doctor_command  # noqa: PLC0415

    if seconds is not None and not measure:
        raise UsageError("--seconds is how long --measure lasts: give both")
    return doctor_command(config, json, measure_s=(1.0 if seconds is None else seconds) if measure else None)


def registers(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ADDRESS] [NAME]",
            help="A device that no run drives; a register (RXDCTL, RXDCTL[3]), or all.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="What `ethtool -d` has printed elsewhere, instead of a device."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """The registers of a device with their fields; those that a read would change are not read."""
    from ixyfwd.cli.inspection import registers_command  # noqa: PLC0415

    registers_command(words or (), file, json)


def inject(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="PORT KIND [KEY=VALUE... | off] | PORT clear | list",
            help="What to inject into which port; `list` shows all kinds.",
            show_default=False,
        ),
    ],
    instance: InstanceOption = "default",
    control: Annotated[
        str | None, typer.Option("--control", metavar="SOCKET", help="Of an `ixyfwd model`, instead of an instance.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make a simulated port misbehave, while it runs."""
    from ixyfwd.cli.inject import inject_command  # noqa: PLC0415

    inject_command(words, instance, control, json)


def config_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A configuration (TOML).", show_default=False)],
    json: JsonOption = False,
) -> None:
    """Say everything that is wrong with a configuration."""
    from ixyfwd.cli.configure import check_command  # noqa: PLC0415

    check_command(file, json)
