"""`ixyfwd events`."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ixyfwd.telemetry.event import EVENT_SCHEMA
from tests.testing.support import (
    IXYFWD,
    Instance,
    check_schema,
    config_text,
    eventually,
    run,
    worker_pids,
    write_config,
)

WIRE = '{ kind = "generator", rate = 10_000 }'


@pytest.fixture
def config(tmp_path: Path) -> str:
    return write_config(tmp_path / "config.toml", config_text([WIRE, WIRE], cpu="workers = 2\nshare = true"))


def events(instance: Instance) -> list[dict[str, Any]]:
    answer = run(*IXYFWD, "events", "--json", "--instance", instance.name)
    assert answer.returncode == 0, answer.stderr
    found = [json.loads(line) for line in answer.stdout.splitlines()]
    for event in found:
        check_schema(event, "event")
    return found


def test_a_run_from_its_beginning_to_its_end(instance: Instance, config: str) -> None:
    process = instance.start("-c", config)
    instance.command("inject", "p0", "link-down")
    eventually(lambda: any(event["kind"] == "link" for event in events(instance)), "the link is down")
    instance.command("stop")
    process.communicate(timeout=60)
    found = events(instance)
    assert [event["number"] for event in found] == list(range(1, len(found) + 1))
    assert [event["state"] for event in found if event["kind"] == "run"] == [
        "starting",
        "running",
        "stopping",
        "stopped",
    ]
    assert [(e["subject"], e["state"]) for e in found if e["kind"] in {"inject", "link"}] == [
        ("port p0", "on"),
        ("port p0", "down"),
    ]
    assert {event["schema"] for event in found} == {EVENT_SCHEMA}
    lines = run(*IXYFWD, "events", "--instance", instance.name).stdout.splitlines()
    assert len(lines) == len(found)
    assert all(
        line.startswith(event["time"]) and line.endswith(event["text"])
        for line, event in zip(lines, found, strict=True)
    )


def test_they_survive_the_supervisor_and_the_next_run_goes_on(instance: Instance, config: str) -> None:
    process = instance.start("-c", config)
    process.kill()
    process.wait()
    assert [event["state"] for event in events(instance)] == ["starting", "running"]
    again = instance.start("-c", config)
    again.terminate()
    again.communicate(timeout=60)
    assert [event["state"] for event in events(instance)][:4] == ["starting", "running"] * 2


def test_following_them(instance: Instance, config: str) -> None:
    command = [*IXYFWD, "events", "--follow", "--json", "--instance", instance.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        process = instance.start("-c", config)
        victim = worker_pids(instance.status())[1]
        subprocess.run(["kill", "-9", str(victim)], check=True)
        states = []
        for line in following.stdout:
            states.append(json.loads(line)["state"])
            if states[-1] == "ready":
                break
        following.terminate()
    assert [state for state in states if state in {"starting", "running", "died", "start", "ready"}] == [
        "starting",
        "running",
        "died",
        "start",
        "ready",
    ]
    instance.command("stop")
    assert process.wait(60) == 0


def test_a_start_that_fails_is_among_them(instance: Instance, tmp_path: Path) -> None:
    text = '[[port]]\nname = "a"\ndevice = "vfio-user:/nonexistent"\n[[port]]\nname = "b"\ndevice = "sim:b"\n'
    path = write_config(tmp_path / "c.toml", text + 'wire = { kind = "none" }\n[[link]]\nports = ["a", "b"]\n')
    process = instance.launch("-c", path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert [event["state"] for event in events(instance)] == ["starting", "failed"]
    assert events(instance)[-1]["text"] in err


def test_an_instance_without_events_is_one_sentence() -> None:
    answer = run(*IXYFWD, "events", "--instance", "no-such-instance")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith("ixyfwd: there are no events of an instance 'no-such-instance'")
    assert len(answer.stderr.splitlines()) == 1
