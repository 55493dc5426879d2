"""The reader behind `test_docstrings`: what a package's docstrings leave out, found in its syntax trees.

A finding is one sentence with its place. The rules:

- missing: a public module, class, function or method has a docstring.
- first line: it is a sentence that ends with a full stop and does not begin with a word that points at another text.
- words: no word of RIDDLES in a file, in comments and messages neither.
- raises: a public function that raises one of ERRORS itself names it.
- arrays: memory, arrays and C pointers are told with type and shape: `uint32[entries]`, `struct queue *`.
- units: a number whose name is that of a measure has its unit in the name or in the docstring.
- reference: what "See `x.Y`" or "Implements `x.Y`" names is a class or function of the package.

A method that implements a method of a base class, or of a class that the docstring of its own class refers to in this
way, inherits its documentation. So does one whose docstring refers to another's.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

RIDDLES: Final = re.compile(
    r"\b(?:somebody|someone|nobody|anybody|everybody|whatever|whoever|whomever|who wants|so[- ]manieth|"
    r"from nothing to)\b",
    re.IGNORECASE,
)
POINTING: Final = re.compile(
    r"(?:As|The same|The other|All of (?:it|them)|Everything|Nothing|None|Those|That|Of|By|Its?|They|And|But|Or|So|"
    r"Harmless|Who|To be|Raises|Not|Now|Then|There|See)\b|\d+\.\d"
)
ERRORS: Final = frozenset(
    {"IxyfwdError", "UsageError", "RefusedError", "DeviceError", "DeviceTimeoutError", "DeviceGoneError"}
    | {"ProtocolError", "RequestError", "ValueError", "OSError"}
)
# A docstring that names the first covers the second.
COVERS: Final[Mapping[str, frozenset[str]]] = {
    "DeviceError": frozenset({"DeviceTimeoutError", "DeviceGoneError", "ProtocolError", "RequestError"}),
}
CATCHES: Final[Mapping[str, frozenset[str]]] = {
    **COVERS,
    "IxyfwdError": ERRORS - {"ValueError", "OSError"},
    "Exception": ERRORS,
    "BaseException": ERRORS,
}
ARRAYS: Final = frozenset({"memoryview", "NDArray", "ndarray", "CData"})
SHAPED: Final = re.compile(r"\b(?:u?int(?:8|16|32|64)|bool|float64|void|V16|bytes)\[[^\]]+\]|\b(?:struct \w+|void) \*")
MEASURES: Final = frozenset(
    [
        "timeout",
        "duration",
        "interval",
        "delay",
        "elapsed",
        "deadline",
        "patience",
        "grace",
        "age",
        "uptime",
        "latency",
        "size",
        "length",
        "rate",
        "speed",
        "frequency",
        "gap",
        "pause",
    ]
)
UNITS: Final = re.compile(
    r"\b(?:bytes?|bits?|[KMG]iB|seconds?|microseconds?|nanoseconds?|milliseconds?|ns|us|ms|s|frames?|packets?|"
    r"descriptors?|entries|entry|slots?|pages?|shares?|Mpps|Gb/s|MHz|per cent|%)(?!\w)"
)
REFERENCE: Final = re.compile(r"\b(?:See|Implements) ((?:`[\w.]+`(?:, | and )?)+)")
# Rows of a table: the name is the datasheet's, and `section=` says where it is described.
ROWS: Final = frozenset({"Register"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Finding:
    """One thing that a docstring leaves out."""

    place: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}:{self.line}: {self.rule}: {self.text}"


@dataclass
class Class:
    """A class with what its methods need to be judged."""

    module: str
    node: ast.ClassDef
    bases: list[str]

    @property
    def doc(self) -> str:
        """The docstring of the class and of its constructor."""
        made = self.method("__init__")
        return f"{_doc(self.node)}\n{_doc(made) if made else ''}"

    def method(self, name: str) -> Function | None:
        """The method that the class itself defines, if it does."""
        found = (one for one in self.node.body if isinstance(one, Function))
        return next((one for one in found if one.name == name), None)


@dataclass
class Package:
    """A folder of modules, by their dotted names without the package's."""

    folder: Path
    sources: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Package":
        """All modules below a folder whose names are public."""
        found = cls(folder)
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            parts = parts[:-1] if parts and parts[-1] == "__init__" else parts
            if not any(part.startswith("_") for part in parts):
                found.sources[".".join(parts)] = path.read_text(encoding="utf-8")
        return found

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        """The syntax tree of each module."""
        return {name: ast.parse(source) for name, source in self.sources.items()}

    @cached_property
    def classes(self) -> list[Class]:
        """All classes at the top of a module."""
        return [
            Class(name, node, [_last(base) for base in node.bases])
            for name, tree in self.trees.items()
            for node in tree.body
            if isinstance(node, ast.ClassDef)
        ]

    @cached_property
    def arrays(self) -> frozenset[str]:
        """Names of array types: those of libraries and the package's aliases for them."""
        found = set(ARRAYS)
        for tree in self.trees.values():
            for node in tree.body:
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    value = node.value
                    if isinstance(value, ast.Subscript) and _last(value) in {"NDArray", "ndarray"}:
                        found.add(node.targets[0].id)
        return frozenset(found)

    def named(self, reference: str, near: str = "") -> list[Class]:
        """The classes that a dotted name means: its end decides, and of several the one nearest to a module."""
        *path, name = reference.split(".")
        found = [one for one in self.classes if one.node.name == name]
        end = ".".join(path)
        fitting = [one for one in found if not end or f".{one.module}".endswith(f".{end}")]
        same = [one for one in fitting if one.module == near]
        return same or fitting

    def ancestors(self, one: Class) -> list[Class]:
        """Base classes, and those that the docstring refers to, and theirs."""
        found: list[Class] = []
        names = [*one.bases, *references(_doc(one.node))]
        for name in names:
            for other in self.named(name, one.module):
                if other is not one and other not in found:
                    found += [other, *(more for more in self.ancestors(other) if more not in found)]
        return found

    def has(self, reference: str) -> bool:
        """Whether a reference names a class, a method, a function or a module."""
        *path, name = reference.split(".")
        if self.named(reference) or any(f".{module}".endswith(f".{reference}") for module in self.trees):
            return True
        if path and any(one.method(name) for one in self.named(".".join(path))):
            return True
        end = ".".join(path)
        return any(
            isinstance(node, Function) and node.name == name
            for module, tree in self.trees.items()
            if not end or f".{module}".endswith(f".{end}")
            for node in tree.body
        )


def references(doc: str) -> list[str]:
    """What a docstring refers to by "See `x.Y`" or "Implements `x.Y`"."""
    return [name for names in REFERENCE.findall(doc) for name in re.findall(r"`([\w.]+)`", names)]


def findings(package: Package) -> list[Finding]:
    """All findings in a package, by module and line."""
    found: list[Finding] = []
    for name, tree in package.trees.items():
        found += _Reader(package, name).module(tree)
    return sorted(found, key=lambda one: (one.place, one.line, one.rule))


def _doc(node: ast.Module | ast.ClassDef | Function) -> str:
    return ast.get_docstring(node) or ""


def _last(node: ast.expr) -> str:
    """The last part of a name: `Unit` of `a.Unit[b]`."""
    if isinstance(node, ast.Subscript):
        return _last(node.value)
    if isinstance(node, ast.Call):
        return _last(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


class _Reader:
    """The findings of one module."""

    def __init__(self, package: Package, module: str) -> None:
        self._package = package
        self._module = module
        self._found: list[Finding] = []

    def module(self, tree: ast.Module) -> list[Finding]:
        source = self._package.sources[self._module]
        for number, line in enumerate(source.splitlines(), 1):
            for word in RIDDLES.findall(line):
                self._add(number, "words", f'"{word}": name the thing')
        self._sentence(tree, "the module")
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                self._class(next(one for one in self._package.classes if one.node is node))
            elif isinstance(node, Function) and not node.name.startswith("_"):
                self._sentence(node, node.name)
                if not _is_command(node):
                    self._function(node, node.name, _doc(node))
        return self._found

    def _add(self, line: int, rule: str, text: str) -> None:
        self._found.append(Finding(self._module or "ixyfwd", line, rule, text))

    def _sentence(self, node: ast.Module | ast.ClassDef | Function, name: str, *, is_method: bool = False) -> None:
        doc, line = _doc(node), getattr(node, "lineno", 1)
        if not doc.strip():
            self._add(line, "missing", f"{name} has no docstring")
            return
        for reference in references(doc):
            if not self._package.has(reference):
                self._add(line, "reference", f"{name} refers to {reference}, which there is not")
        first = doc.splitlines()[0]
        if not first.endswith("."):
            self._add(line, "first line", f"{name}: {first!r} does not end with a full stop")
        elif POINTING.match(first) and not (is_method and first.startswith("See `")):
            self._add(line, "first line", f"{name}: {first!r} does not name the thing")

    def _class(self, one: Class) -> None:
        node, ancestors = one.node, self._package.ancestors(one)
        if not (ROWS & set(one.bases) and not _doc(node)):
            self._sentence(node, node.name)
        docs = "\n".join([one.doc, *(other.doc for other in ancestors)])
        for member in node.body:
            if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
                name = member.target.id
                if not name.startswith("_"):
                    self._number(member.lineno, f"{node.name}.{name}", name, member.annotation, docs)
                    self._array(member.lineno, f"{node.name}.{name}", name, member.annotation, docs)
            elif isinstance(member, Function):
                self._method(one, member, ancestors, docs)

    def _method(self, one: Class, member: Function, ancestors: list[Class], docs: str) -> None:
        name = f"{one.node.name}.{member.name}"
        if member.name in {"__init__", "__post_init__"}:
            self._function(member, name, f"{docs}\n{_doc(member)}")
        elif not member.name.startswith("_") and not _is_setter(member):
            base = next((found for other in ancestors if (found := other.method(member.name))), None)
            inherited = _doc(base) if base else ""
            if base is None or _doc(member):
                self._sentence(member, name, is_method=True)
            self._function(member, name, f"{_doc(member)}\n{inherited}\n{docs}")

    def _function(self, node: Function, name: str, docs: str) -> None:
        for kind, line in sorted(_raised(node)):
            names = {kind, *(general for general, covered in COVERS.items() if kind in covered)}
            if not any(re.search(rf"\b{one}\b", docs) for one in names):
                self._add(line, "raises", f"{name} raises {kind} and does not say so")
        arguments = node.args
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            if argument.annotation is not None:
                self._number(node.lineno, name, argument.arg, argument.annotation, docs)
                self._array(node.lineno, name, argument.arg, argument.annotation, docs)
        if node.returns is not None:
            if not node.name.startswith("_"):
                self._number(node.lineno, name, node.name, node.returns, docs, result=True)
            if self._is_array(node.returns) and not SHAPED.search(docs):
                self._add(node.lineno, "arrays", f"{name} does not say of what type and shape its result is")

    def _is_array(self, annotation: ast.expr) -> bool:
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            annotation = ast.parse(annotation.value, mode="eval").body
        if isinstance(annotation, ast.BinOp):
            return self._is_array(annotation.left) or self._is_array(annotation.right)
        return _last(annotation) in self._package.arrays

    def _array(self, line: int, owner: str, name: str, annotation: ast.expr, docs: str) -> None:
        if not self._is_array(annotation):
            return
        for match in re.finditer(rf"\b{re.escape(name)}\b", docs):
            if SHAPED.search(docs[match.end() :].partition("\n\n")[0]):
                return
        self._add(line, "arrays", f"{owner} does not say of what type and shape {name} is")

    def _number(  # noqa: PLR0917
        self, line: int, owner: str, name: str, annotation: ast.expr, docs: str, result: bool = False
    ) -> None:
        text = ast.unparse(annotation)
        if not re.search(r"\b(?:int|float)\b", text) or name.lower().split("_")[-1] not in MEASURES:
            return
        sentences = re.split(r"(?<=[.;])\s", docs)
        about = sentences[:1] if result else [one for one in sentences if re.search(rf"\b{re.escape(name)}\b", one)]
        if not any(UNITS.search(one) for one in about):
            self._add(line, "units", f"{owner}: {name} has no unit, in its name or beside it in the docstring")


def _is_command(node: Function) -> bool:
    """Whether a function is a typer command: its docstring and those of its options are help texts."""
    arguments = [*node.args.args, *node.args.kwonlyargs]
    return any(one.annotation and "typer." in ast.unparse(one.annotation) for one in arguments)


def _is_setter(node: Function) -> bool:
    return any(isinstance(one, ast.Attribute) and one.attr in {"setter", "deleter"} for one in node.decorator_list)


def _raised(node: Function) -> set[tuple[str, int]]:
    """The errors that a function raises itself, and does not catch, with their lines."""
    return {one for statement in node.body for one in _raised_in(statement, frozenset())}


def _raised_in(node: ast.AST, caught: frozenset[str]) -> Iterator[tuple[str, int]]:
    if isinstance(node, (*Function.__args__, ast.ClassDef, ast.Lambda)):
        return
    if isinstance(node, ast.Raise) and node.exc is not None:
        kind = _last(node.exc)
        if kind in ERRORS and kind not in caught:
            yield kind, node.lineno
        return
    if isinstance(node, ast.Try):
        kinds = [_last(one) for handler in node.handlers for one in _kinds(handler)]
        inner = caught.union(kinds, *(CATCHES.get(kind, frozenset()) for kind in kinds))
        for statement in node.body:
            yield from _raised_in(statement, inner)
        rest: list[ast.AST] = [*node.handlers, *node.orelse, *node.finalbody]
    else:
        rest = list(ast.iter_child_nodes(node))
    for child in rest:
        yield from _raised_in(child, caught)


def _kinds(handler: ast.ExceptHandler) -> list[ast.expr]:
    kind = handler.type
    if kind is None:
        return [ast.Name("BaseException")]
    return kind.elts if isinstance(kind, ast.Tuple) else [kind]
