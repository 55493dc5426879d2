"""The control server by itself, turned by hand: what clients say, how much, how slowly, and how many they are."""

import json
import resource
import socket
import stat
import struct
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ixyfwd.kit.jsonlines import DEPTH_MAX
from ixyfwd.kit.lineserver import ClientLimits
from ixyfwd.kit.loop import CALLBACKS_A_ROUND
from tests.testing.kit_desk import LONG_ANSWER, Desk
from tests.testing.support import without_descriptors

ECHO = b'{"do": "echo"}\n'
FEW = ClientLimits(clients=4)
ENOUGH = 1000  # rounds, for anything that a server that works does in some hundred


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with closing(Desk(tmp_path / "control.sock")) as found:
        yield found
    assert not found.path.exists()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Desk]:
    """A server with four places."""
    with closing(Desk(tmp_path / "control.sock", FEW)) as found:
        yield found


# What is said


def test_answers_line_by_line(desk: Desk) -> None:
    assert stat.S_IMODE(desk.path.stat().st_mode) == 0o600
    answers = desk.ask(b'{"do": "echo", "n": 1}\n{"do": "echo", "n": 2}\n')
    assert [answer["echo"]["n"] for answer in answers] == [1, 2]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"", "an empty line"),
        (b" \r", "an empty line"),
        (b"nonsense", "text that is not JSON"),
        (b'{"do":', "JSON that ends too early"),
        (b"{", "JSON that ends too early"),
        (b'{"do": "ec', "text that is not JSON (it goes wrong at character 8)"),
        (b'{"do": "echo",}', "text that is not JSON (it goes wrong at character 1"),
        (b'{"do": "echo"} {', "text that is not JSON (it goes wrong at character 16)"),
        (b"[]", "JSON that is not an object"),
        (b"12", "JSON that is not an object"),
        (b"{}", 'no "do" whose value is a string'),
        (b'{"do": ["echo"]}', 'no "do" whose value is a string'),
        (b"\xff\xfe", "text that is not UTF-8"),
        (b'{"do": "\xed\xa0\x80"}', "text that is not UTF-8"),
        ('{"do": "echo"}'.encode("utf-16"), "text that is not UTF-8"),
        ('{"do": "echo"}'.encode("utf-16-be"), "text that is not JSON"),
        (b'\xef\xbb\xbf{"do": "echo"}', "text that is not JSON"),
        (b'{"do": "echo", "text": "\\ud800"}', "half a surrogate pair"),
        (b'{"do": "echo", "\\udfff": 1}', "half a surrogate pair"),
        (b'{"do": "echo", "n": NaN}', "NaN, which is not JSON"),
        (b'{"do": "echo", "n": -Infinity}', "-Infinity, which is not JSON"),
        (b'{"do": "echo", "n": 1e999}', "a number that is too large"),
        (b'{"do": "echo", "n": ' + b"9" * 10_000 + b"}", "a number with too many digits"),
        (b'{"do": "stop", "do": "echo"}', "a key that appears twice"),
        (b'{"do": "echo", "a": [{"b": 1, "b": 2}]}', "a key that appears twice"),
        (b"[" * 1200, "brackets nested more than 32 deep"),
        (b'{"a":' * 1200, "brackets nested more than 32 deep"),
        (b'{"do": "echo", "a": ' + b"[" * 1200 + b"]" * 1200 + b"}", "brackets nested more than 32 deep"),
    ],
)
def test_a_line_that_is_no_request_costs_its_answer_and_not_the_connection(desk: Desk, line: bytes, found: str) -> None:
    wrong, right = desk.ask(line + b"\n" + ECHO)
    assert wrong["error"].startswith('expected one JSON object on one line, such as {"do": "echo"}, found ' + found)
    assert right == {"echo": {"do": "echo"}}
    assert len(desk.requests) == 1


def test_depth_counts_brackets_and_not_text(desk: Desk) -> None:
    inner = "[" * (DEPTH_MAX - 1) + "]" * (DEPTH_MAX - 1)
    assert "echo" in desk.ask(f'{{"do": "echo", "a": {inner}}}\n'.encode())[0]
    assert "error" in desk.ask(f'{{"do": "echo", "a": [{inner}]}}\n'.encode())[0]
    text = json.dumps({"do": "echo", "a": "[" * 1000 + '\\"' + "{" * 1000}) + "\n"
    assert "echo" in desk.ask(text.encode())[0]
    many = json.dumps({"do": "echo", "a": [[]] * 1000}) + "\n"
    assert "echo" in desk.ask(many.encode())[0]


def test_emoji_as_a_surrogate_pair_is_text(desk: Desk) -> None:
    assert desk.ask(b'{"do": "echo", "a": "\\ud83d\\ude00"}\n')[0]["echo"]["a"] == "\U0001f600"


def test_unknown_commands_are_told_the_known_ones(desk: Desk) -> None:
    (answer,) = desk.ask(b'{"do": "fly"}\n')
    assert answer == {"error": "unknown command 'fly', expected one of echo, long, later, refuse, break"}


def test_what_a_command_raises_is_its_answer(desk: Desk) -> None:
    assert desk.ask(b'{"do": "refuse"}\n') == [{"error": "not today"}]
    assert not desk.failures


def test_a_mistake_in_a_command_is_an_answer_and_told_once(desk: Desk) -> None:
    sentence = "the command 'break' failed: ZeroDivisionError: integer division or modulo by zero"
    assert desk.ask(b'{"do": "break"}\n{"do": "break"}\n') == [{"error": sentence}] * 2
    assert desk.failures == [sentence]
    assert desk.works()


def test_an_answer_beyond_its_bound_is_a_failure(tmp_path: Path) -> None:
    with closing(Desk(tmp_path / "s", ClientLimits(answer_bytes=1000))) as desk:
        (answer,) = desk.ask(b'{"do": "long"}\n')
        assert answer["error"].startswith("the command 'long' failed: its answer has 5")


# How much


@pytest.mark.parametrize("more", [b"", b"\n", b"\n" + ECHO])
def test_a_line_that_is_too_long_is_told_and_ends_the_connection(desk: Desk, more: bytes) -> None:
    limit = desk.limits.request_bytes
    client = desk.connected(b"x" * (limit + 1) + more)
    assert json.loads(desk.heard(client) or b"") == {"error": f"a line is longer than {limit} bytes"}
    assert desk.heard(client) is None
    assert len(desk.server) == 0
    assert not desk.requests


def test_the_longest_line_is_taken(desk: Desk) -> None:
    line = b'{"do": "echo", "a": "%s"}'
    line %= b"x" * (desk.limits.request_bytes - len(line) + 2)
    assert len(line) == desk.limits.request_bytes
    assert "echo" in desk.ask(line + b"\n", rounds=8)[0]


def test_ten_mebibytes_without_an_end_cost_one_line_of_them(desk: Desk) -> None:
    client = desk.connect()
    sent = 0
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        while sent < 10 << 20:
            sent += client.send(b"[" * 65536)
            desk.turn(1)
    assert sent < 10 << 20
    assert desk.works()


# Who does not read


def test_a_client_that_reads_nothing_has_one_answer_made_and_no_more(desk: Desk) -> None:
    client = desk.connected(b'{"do": "long"}\n' + ECHO * 100)
    desk.turn(100)
    assert not desk.requests, "its first answer is still unread"
    assert desk.works()
    lines = (desk.heard(client) or b"").split(b"\n")
    for _ in range(ENOUGH):
        if len(lines) >= 102:
            break
        desk.turn(1)
        lines[-1:] = (lines[-1] + (desk.heard(client) or b"")).split(b"\n")
    else:
        pytest.fail(f"only {len(lines) - 1} of 101 answers came")
    assert json.loads(lines[0]) == {"long": LONG_ANSWER}
    assert lines[1:] == [b'{"echo":{"do":"echo"}}'] * 100 + [b""]


def test_one_request_of_a_client_is_carried_out_a_round(desk: Desk) -> None:
    client = desk.connected()
    client.sendall(ECHO * 50)
    desk.turn(1)
    before = len(desk.requests)
    for done in range(1, 20):
        desk.turn(1)
        assert len(desk.requests) == before + done


def test_a_client_that_reads_nothing_is_hung_up_on(desk: Desk) -> None:
    desk.connected(b'{"do": "long"}\n')
    desk.wait(desk.limits.unread_s / 2)
    assert len(desk.server) == 1
    desk.wait(desk.limits.unread_s)
    assert len(desk.server) == 0


def test_a_slow_reader_that_goes_on_reading_gets_everything(desk: Desk) -> None:
    client = desk.connected(b'{"do": "long"}\n')
    found = b""
    for _ in range(ENOUGH):
        desk.wait(desk.limits.unread_s * 0.9)
        found += desk.heard(client) or b""
        if found.endswith(b"\n"):
            break
    else:
        pytest.fail(f"the answer has no end after {len(found)} bytes")
    assert json.loads(found) == {"long": LONG_ANSWER}


# Who is slow or silent


def test_half_a_line_has_its_time_however_it_trickles(desk: Desk) -> None:
    client = desk.connected(b"{")
    steps = 0
    while (heard := desk.heard(client)) == b"":
        client.sendall(b" ")
        desk.wait(desk.limits.line_s / 10)
        steps += 1
        assert steps < ENOUGH, "it may trickle for ever"
    assert json.loads(heard or b"")["error"].startswith("the end of the line did not come within 5 s")
    assert steps in range(9, 13)
    assert len(desk.server) == 0


def test_an_idle_client_is_hung_up_on(desk: Desk) -> None:
    client = desk.connected(ECHO)
    assert desk.heard(client)
    for _ in range(3):  # each request begins its time anew
        desk.wait(desk.limits.idle_s * 0.9)
        client.sendall(ECHO)
        desk.turn()
        assert desk.heard(client)
    desk.wait(desk.limits.idle_s + 1)
    assert desk.heard(client) is None


def test_who_waits_for_a_late_answer_is_left_alone(small: Desk) -> None:
    clients = [small.connected(b'{"do": "later"}\n') for _ in range(3)]
    small.wait(10 * small.limits.idle_s)
    for _ in range(20):
        small.connected()
        small.wait(1)
    waiting = small.server.detach_waiting()
    small.server.close()
    waiting.answer({"done": True})
    assert [json.loads(small.heard(client) or b"") for client in clients] == [{"done": True}] * 3


def test_who_waits_and_hangs_up_frees_its_place(desk: Desk) -> None:
    client = desk.connected(b'{"do": "later"}\n')
    client.shutdown(socket.SHUT_WR)
    desk.turn()
    assert len(desk.server) == 1, "it still reads"
    client.close()
    desk.turn()
    assert len(desk.server) == 0


def test_late_answers_wait_for_readers_together_and_not_for_each(desk: Desk) -> None:
    deaf = [desk.connected(b'{"do": "later"}\n') for _ in range(10)]
    waiting = desk.server.detach_waiting()
    waiting.answer({"long": LONG_ANSWER}, timeout_s=0)
    assert all((desk.heard(client) or b"").startswith(b'{"long":"xxx') for client in deaf)


# How many


def test_a_new_client_gets_the_place_of_the_one_that_has_said_least(small: Desk) -> None:
    served = small.connected(ECHO)
    half = small.connected(b"{")
    silent = small.connected()
    again = small.connected(ECHO)
    small.wait(small.limits.settle_s)
    assert [small.heard(client) for client in (half, silent)] == [b"", b""]
    newcomers = []
    for gone in (half, silent, served):
        newcomers.append(small.connected(ECHO))
        assert len(small.server) == small.limits.clients
        if gone is served:
            assert small.heard(served)
        assert small.heard(gone) is None
    assert all(small.heard(client) for client in (*newcomers, again))


def test_clients_that_wait_are_taken_together_while_requests_take_long(small: Desk) -> None:
    """One a round would let the last of a queue wait for as many long requests as there are clients before it."""
    first = [small.connected() for _ in range(small.limits.clients)]
    small.wait(small.limits.settle_s)
    late = [small.connect() for _ in first]
    small.turn(1)
    assert [small.heard(client) for client in first] == [None] * len(first)
    assert [small.heard(client) for client in late] == [b""] * len(late)


def test_a_new_client_keeps_its_place_for_a_moment(small: Desk) -> None:
    """Or a crowd that comes without end would take each place before its holder could speak."""
    first = [small.connected() for _ in range(4)]
    late = small.connected(ECHO)
    assert small.heard(late) == b"", "it waits in the kernel's queue"
    for client in first:
        client.sendall(ECHO)
    small.turn()
    assert all(small.heard(client) for client in first)
    small.wait(small.limits.settle_s)
    assert small.heard(late)


def test_a_client_that_spoke_in_time_is_heard_before_its_place_is_taken(small: Desk) -> None:
    first = [small.connected() for _ in range(4)]
    late = small.connect()  # what the server hears of first
    for client in first:
        client.sendall(ECHO)
    small.wait(small.limits.settle_s)
    assert all(small.heard(client) for client in first)
    late.sendall(ECHO)
    small.wait(small.limits.settle_s)
    assert small.heard(late)


@pytest.mark.slow
@pytest.mark.parametrize("said", [b"", b"{", ECHO, ECHO * 300, b'{"do": "long"}\n', b"\xff\n"])
def test_a_thousand_clients_do_not_keep_one_from_being_served(desk: Desk, said: bytes) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    for _ in range(1000):
        client = desk.connect()
        if said:
            client.sendall(said)
        desk.turn(desk.limits.clients // CALLBACKS_A_ROUND + 2)
        desk.clock.now_s += desk.limits.settle_s / 8  # as many as can be had in that time, and more
        assert len(desk.server) <= desk.limits.clients
    last = desk.connect()
    last.sendall(b'{"do": "echo", "n": 1}\n')
    for _ in range(3):
        desk.wait(desk.limits.settle_s)
        desk.turn(2 * desk.limits.clients // CALLBACKS_A_ROUND)
    assert json.loads(desk.heard(last) or b"") == {"echo": {"do": "echo", "n": 1}}


def test_without_descriptors_the_listener_rests(desk: Desk) -> None:
    served = desk.connected()
    late = desk.connect()
    late.sendall(ECHO)
    with without_descriptors():
        desk.turn(20)
        assert len(desk.server) == 1
        served.sendall(ECHO)
        desk.turn()
        assert desk.heard(served)
    desk.wait(desk.limits.settle_s)
    desk.turn()
    assert desk.heard(late)


# Anything

CHUNK = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([ECHO, b"\n", b'{"do": "long"}\n', b'{"do": "break"}\n', b'{"do": "later"}\n', b"{", b"[" * 2000]),
    st.integers(1, 40_000).map(lambda count: b"x" * count),
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(
        lambda value: json.dumps({"do": "echo", "value": value}).encode() + b"\n"
    ),
)
STEP = st.one_of(
    st.tuples(st.just("say"), st.integers(0, 5), CHUNK),
    st.tuples(st.sampled_from(["hear", "half-close", "close", "reset", "connect"]), st.integers(0, 5), st.just(b"")),
    st.tuples(st.just("wait"), st.sampled_from([0, 1, 6, 400]), st.just(b"")),
)


def act(desk: Desk, step: tuple[str, int, bytes]) -> None:
    what, number, data = step
    if what == "wait":
        desk.wait(number)
        return
    if what == "connect" or number >= len(desk.clients):
        desk.connect()
        return
    client = desk.clients[number]
    try:
        if what == "say":
            client.send(data)
        elif what == "hear":
            client.recv(1 << 20)
        elif what == "half-close":
            client.shutdown(socket.SHUT_WR)
        elif what == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        else:
            client.close()
    except OSError:
        pass  # the client's own affair: it was hung up on, or is closed


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEP, max_size=40))
def test_the_server_stays_within_its_bounds_and_serves_after_any_behaviour(steps: list[tuple[str, int, bytes]]) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, closing(Desk(Path(folder) / "s", FEW)) as desk:
        for step in steps:
            act(desk, step)
            desk.turn(1)
            assert_within_bounds(desk)
        if any(client.waits for client in clients_of(desk)):
            desk.server.detach_waiting().answer({}, timeout_s=0)
        desk.wait(desk.limits.settle_s)
        assert desk.works()


def clients_of(desk: Desk) -> list[Any]:
    return list(desk.server._clients.values())


def assert_within_bounds(desk: Desk) -> None:
    assert len(desk.server) <= desk.limits.clients
    for client in clients_of(desk):
        assert len(client.inbox) <= 2 * desk.limits.request_bytes
        assert len(client.outbox) <= len(LONG_ANSWER) + 1000
