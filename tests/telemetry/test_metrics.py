"""The numbers of a run: declared once, and what is made of the rows (JSON, schema, reference page) agrees."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ixyfwd.errors import IxyfwdError
from ixyfwd.nic.contract import Statistics
from ixyfwd.supervisor.report import drops_by_cause
from ixyfwd.telemetry.counters import MetricRow, PortWord, ProgramWord, Word
from ixyfwd.telemetry.documents import DOCUMENTS
from ixyfwd.telemetry.plain import Item, Rows, from_plain, items, to_plain
from ixyfwd.telemetry.schema import SCHEMA_FILE, status_schema
from ixyfwd.telemetry.snapshot import DROPS, PortCounts, Report, Snapshot
from tests.testing.cli_samples import report_json, status_json, worker
from tests.testing.support import IXYFWD, ROOT, check_schema, run


def kinds_of(kind: type) -> set[type]:
    """A class and those of the values in it."""
    found = {kind}
    for item in items(kind):
        for hint in (item.type, *get_args(item.type)):
            if is_dataclass(hint) and isinstance(hint, type):
                found |= kinds_of(hint)
    return found


KINDS = sorted({kind for document in DOCUMENTS for kind in kinds_of(document)}, key=lambda kind: kind.__name__)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that fields have."""
    arguments = get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return st.builds(hint, **{item.name: field_values(hint, item) for item in items(hint)})
    if get_origin(hint) is Sequence:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if get_origin(hint) is Mapping:
        return st.dictionaries(st.text(max_size=3), values(arguments[1]), max_size=2)
    if get_origin(hint) is Literal:
        return st.sampled_from(arguments)
    scalars: dict[Any, st.SearchStrategy[Any]] = {
        int: st.integers(0, 2**64 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        str: st.text(max_size=5),
        bool: st.booleans(),
        Any: st.none() | st.integers() | st.text(max_size=3),
    }
    return scalars[hint]


def field_values(kind: type, item: Item) -> st.SearchStrategy[Any]:
    found: st.SearchStrategy[Any]
    if isinstance(item.about, Rows):
        found = st.fixed_dictionaries({row: st.integers(0, 2**64 - 1) for row in item.about.rows})
    elif item.name == "schema":
        found = st.just(next(one.default for one in fields(kind) if one.name == "schema"))
    elif item.about.names:
        found = st.fixed_dictionaries({name: st.integers(0, 10) for name, _ in item.about.names})
    else:
        found = values(item.type)
    return st.none() | found if item.optional else found


@pytest.mark.parametrize("document", DOCUMENTS)
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_plain_data_keeps_what_it_stands_for_and_the_schema(document: type, data: st.DataObject) -> None:
    value = data.draw(values(document))
    plain = json.loads(json.dumps(to_plain(value)))
    check_schema(plain, plain["schema"].split("-")[1])
    assert from_plain(document, plain) == value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_field_has_a_sentence_and_no_two_have_a_name_in_json(kind: type) -> None:
    names: list[str] = []
    for item in items(kind):
        if isinstance(item.about, Rows) and not item.about.nested:
            names += [row.key for row in item.about.rows]
        else:
            names.append(item.name)
            assert isinstance(item.about, Rows) or item.about.text.endswith(".")
    assert len(names) == len(set(names))


@pytest.mark.parametrize("rows", [Word, PortWord, ProgramWord])
def test_every_row_that_reports_show_is_in_one_place(rows: type[MetricRow]) -> None:
    shown = [row for kind in KINDS for item in items(kind) if isinstance(item.about, Rows) for row in item.about.rows]
    assert {row: sum(one is row for one in shown) for row in rows} == {row: int(row.reported) for row in rows}


def test_the_schema_and_the_reference_page_are_up_to_date() -> None:
    """Else run scripts/describe.py."""
    done = run(sys.executable, "scripts/describe.py", "--check", cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_schema_is_one_and_the_command_prints_it() -> None:
    jsonschema.Draft202012Validator.check_schema(status_schema())
    done = run(*IXYFWD, "status", "--schema")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(SCHEMA_FILE.read_text()) == status_schema()


def test_samples_of_other_tests_are_what_the_schema_says() -> None:
    check_schema(status_json(), "status")
    check_schema(report_json(), "report")
    check_schema(status_json(sink=None, model_process=None, workers=[worker(0, pauses=3)]), "status")


@pytest.mark.parametrize(
    "more",
    [
        {"colour": "blue"},
        {"drops": {"rx_missed": 0, "tx_full": 2}},
        {"rx_packets": "7"},
        {"device": "card"},
        {"workers": [worker(0, yields=-1)]},
        {"workers": [worker(0, yield_rate=1)]},
    ],
    ids=str,
)
def test_the_schema_accepts_nothing_else(more: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        check_schema(status_json(**more), "status")


def test_causes_of_programs_are_welcome_to_the_schema() -> None:
    check_schema(status_json(drops={**status_json()["drops"], "drop.longer": 3}), "status")


def test_a_run_drops_for_the_causes_that_are_declared() -> None:
    assert list(drops_by_cause([], [], [])) == [cause for cause, _ in DROPS]


def test_ports_are_asked_for_counters_that_their_contract_has() -> None:
    assert {item.name for item in items(PortCounts)} <= set(vars(Statistics))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"rx_packets": None}, "rx_packets is None, expected int"),
        ({"in_flight": True}, "in_flight is True, expected int"),
        ({"rss": 5}, "rss is 5, expected an object"),
        ({"notices": "none"}, "notices is 'none', expected "),
        ({"workers": [worker(0, yields=None)]}, r"workers\[0\].yields is None, expected int"),
        ({"workers": [worker(0, state="asleep")]}, r"workers\[0\].state is 'asleep', expected "),
    ],
)
def test_what_another_version_wrote_is_one_sentence(more: dict[str, Any], said: str) -> None:
    with pytest.raises(IxyfwdError, match=rf"^{said}.*: another version of ixyfwd wrote it$"):
        from_plain(Snapshot, status_json(**more))


def test_what_a_newer_version_adds_is_left_out() -> None:
    assert from_plain(Snapshot, status_json(colour="blue")) == from_plain(Snapshot, status_json())
    assert isinstance(from_plain(Report, report_json(colour="blue")), Snapshot)


def test_an_unannotated_field_is_refused() -> None:
    code = (
        "from dataclasses import dataclass\nfrom ixyfwd.telemetry.plain import items\n"
        "@dataclass\nclass Odd:\n    n: int\n"
        "try: items(Odd)\nexcept TypeError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "Odd.n is not annotated with About or Rows\n"
