"""YAML as its author meant it: nothing read silently as something else, and every flaw reported.

PyYAML's own loader keeps the last of two equal keys, reads `no` as false, `022` as 18 and `8.10`
as 8.1. Here the schema says where text is wanted (`Shape`), and there the author's own characters
are kept; where any kind of value may stand, a scalar that two YAML readers would read differently
is refused. Parsing is libyaml's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml
from yaml._yaml import CParser
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.resolver import Resolver

PathKeys = tuple[str | int, ...]
Dialect = Literal["strict", "ansible"]

MAXIMUM_BYTES = 1_000_000
MAXIMUM_DEPTH = 40
MAXIMUM_VALUES = 50_000

_PLAIN = "plain"
_QUOTED = "quoted"
_COLLECTION = "collection"
_VAULT_TAGS = frozenset({"!vault", "!vault-encrypted"})

_TOO_DEEP = f"values are nested more than {MAXIMUM_DEPTH} deep"
_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\Z")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]+\Z")
_AMBIGUOUS = re.compile(
    r"(?:[yY]|[nN]|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF"  # YAML 1.1's other booleans
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"  # 12:30:00 is 45000 to YAML 1.1
    r"|[-+]?0[xXoObB]?[0-9a-fA-F_]+"  # 022, 0x1F, 0o17
    r"|[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"  # +1, 1_000, 1e3, 8.30, very long ones
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    r"|[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?)\Z"
)
# libyaml's composer recurses: some thousands of levels are safe, hundreds of thousands are not.
_SAFE_DEPTH = 2_000
_TOKENS_THAT_NEST = re.compile(r"[\[{:?]|- ")


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong with the text itself; `line` and `column` count from 1."""

    line: int
    column: int
    path: PathKeys
    reference: str
    message: str
    suggestion: str = ""


@dataclass(slots=True)
class Shape:
    """What the schema expects at one place, as far as reading scalars needs it.

    `wants` is `text`, `number` or `any`.
    """

    wants: Literal["text", "number", "any"] = "any"
    properties: dict[str, Shape] = field(default_factory=dict)
    others: Shape | None = None
    items: Shape | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a document holds (`None` when it cannot be parsed at all), and its flaws."""

    data: Any
    flaws: tuple[Flaw, ...] = ()


@dataclass(frozen=True, slots=True)
class Encrypted:
    """An inline ansible-vault value: that it is there is all this tool knows of it."""

    def __str__(self) -> str:
        return "(encrypted)"


_ANY = Shape()


class _NodeParser(CParser):
    """libyaml's composer without PyYAML's resolver, which is what makes it slow and surprising."""

    def resolve(self, kind: type, value: object, implicit: object) -> str:
        del value
        if kind is not ScalarNode:
            return _COLLECTION
        return _PLAIN if isinstance(implicit, tuple) and implicit[0] else _QUOTED

    def descend_resolver(self, current_node: object, current_index: object) -> None:
        """Nothing is resolved by its place here."""

    def ascend_resolver(self) -> None:
        """Nothing is resolved by its place here."""


def read(raw: bytes, shape: Shape, dialect: Dialect = "strict") -> Reading:
    """Read one YAML document.

    `strict` is for our own documents; `ansible` reads untyped values as Ansible itself does (YAML
    1.1) and tolerates its vault tags and merge keys.
    """
    parsed = _parse(raw)
    if isinstance(parsed, Flaw):
        return Reading(None, (parsed,))
    if parsed is None:
        return Reading(None, ())
    builder = _Builder(dialect)
    try:
        data = builder.build(parsed, shape, ())
    except _TooMuchError as error:
        mark = error.node.start_mark
        flaw = Flaw(mark.line + 1, mark.column + 1, (), error.reference, str(error))
        return Reading(None, (*builder.flaws, flaw))
    return Reading(data, tuple(builder.flaws))


def locate(raw: bytes, path: Sequence[str | int], *, key: bool = False) -> tuple[int, int]:
    """Return the line and column of the value at `path`, or of its key; (1, 1) is the document.

    A mapping or list is pointed at by its key, which is where a person looks. The nearest place
    that exists is taken for a path that does not.
    """
    node = _parse(raw)
    if not isinstance(node, Node):
        return (1, 1)
    line, column = (1, 1)
    for step, part in enumerate(path):
        found = _child(node, part)
        if found is None:
            break
        key_node, node = found
        at_key = isinstance(node, MappingNode | SequenceNode) or (key and step == len(path) - 1)
        mark = (key_node if at_key and key_node is not None else node).start_mark
        line, column = mark.line + 1, mark.column + 1
    return (line, column)


def _child(node: Node, part: str | int) -> tuple[Node | None, Node] | None:
    if isinstance(node, MappingNode):
        for key_node, value_node in node.value:
            if key_node.value == part:
                return (key_node, value_node)
    elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return (None, node.value[part])
    return None


def _parse(raw: bytes) -> Node | Flaw | None:
    if len(raw) > MAXIMUM_BYTES:
        return Flaw(
            1,
            1,
            (),
            "too-large",
            f"the file is larger than {MAXIMUM_BYTES:,} bytes",
            "split it, or look whether the right file is here",
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return Flaw(
            line,
            error.start - raw.rfind(b"\n", 0, error.start),
            (),
            "not-utf-8",
            f"byte 0x{raw[error.start]:02x} is not UTF-8",
            "save the file as UTF-8 text",
        )
    try:
        if len(_TOKENS_THAT_NEST.findall(text)) > _SAFE_DEPTH:
            too_deep = _first_too_deep(text)
            if too_deep is not None:
                return too_deep
        node = _NodeParser(text).get_single_node()
    except yaml.YAMLError as error:
        return _beyond_libyaml(text, error) or _syntax_flaw(text, error)
    return node if isinstance(node, Node) else None


def _beyond_libyaml(text: str, error: yaml.YAMLError) -> Flaw | None:
    """Find where nesting goes too deep when libyaml met its own limit (since 0.2.6) first."""
    mark = getattr(error, "problem_mark", None)
    if mark is None or "nesting depth" not in str(getattr(error, "problem", "")):
        return None
    return _first_too_deep(text[: mark.index])


def _first_too_deep(text: str) -> Flaw | None:
    """Find where nesting goes too deep, before the recursive composer would exhaust the stack."""
    parser = CParser(text)
    depth = 0
    while parser.check_event():
        event = parser.get_event()
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAXIMUM_DEPTH:
                mark = event.start_mark
                return Flaw(
                    mark.line + 1 if mark else 1,
                    mark.column + 1 if mark else 1,
                    (),
                    "too-deep",
                    _TOO_DEEP,
                    "flatten this part",
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return None


def _syntax_flaw(text: str, error: yaml.YAMLError) -> Flaw:
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position] if isinstance(error.position, int) else ""
        return Flaw(
            before.count("\n") + 1,
            len(before) - before.rfind("\n"),
            (),
            "yaml",
            "the file holds a control character",
            "remove it; it cannot be seen in most editors",
        )
    conflict = re.search(r"^(?:<{7}|={7}|>{7})(?: |$)", text, re.MULTILINE)
    if conflict is not None:
        return Flaw(
            text.count("\n", 0, conflict.start()) + 1,
            1,
            (),
            "merge-conflict",
            "a merge in Git left both versions in this file",
            "keep one of them, and remove the lines with <<<<<<<, ======= and >>>>>>>",
        )
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    problem = str(getattr(error, "problem", "") or error)
    context = str(getattr(error, "context", "") or "")
    lines = text.splitlines()
    here = lines[line - 1] if 0 < line <= len(lines) else ""
    if "\t" in here[: len(here) - len(here.lstrip())] or "'\\t'" in problem or "\t" in problem:
        return Flaw(line, column, (), "tab", "a tab indents this line", "indent with spaces")
    if "single document" in context or "another document" in problem:
        return Flaw(
            line,
            column,
            (),
            "many-documents",
            "a second document begins here (---)",
            "put it in a file of its own",
        )
    for words, message, suggestion in _SYNTAX_WORDS:
        if words in problem:
            return Flaw(line, column, (), "yaml", message, suggestion)
    return Flaw(line, column, (), "yaml", f"this is not valid YAML: {problem}", "")


_SYNTAX_WORDS = (
    (
        "mapping values are not allowed",
        "a second `key: value` begins on this line",
        'put text that holds ": " in quotes, or check the indentation',
    ),
    (
        "could not find expected ':'",
        "a key without a colon",
        "write `key: value`, with a space after the colon",
    ),
    (
        "did not find expected key",
        "the indentation does not fit the lines above",
        "line it up with the keys above it",
    ),
    (
        "found undefined alias",
        "text that begins with * is a reference to nothing",
        'put it in quotes, for instance "*"',
    ),
    (
        "found unexpected end of stream",
        "a quote or bracket is opened and never closed",
        "close it",
    ),
    (
        "cannot start any token",
        "text cannot begin with this character",
        "put the text in quotes",
    ),
)


class _TooMuchError(Exception):
    def __init__(self, node: Node, reference: str, message: str) -> None:
        super().__init__(message)
        self.node = node
        self.reference = reference


def _merged(node: MappingNode) -> Iterator[tuple[Node, Node]]:
    """Give a mapping's pairs with those that `<<` brings in, as Ansible reads them."""
    merged: list[tuple[Node, Node]] = []
    own: list[tuple[Node, Node]] = []
    for key_node, value_node in node.value:
        if key_node.tag != _PLAIN or key_node.value != "<<":
            own.append((key_node, value_node))
            continue
        sources = value_node.value if isinstance(value_node, SequenceNode) else [value_node]
        for source in sources:
            if isinstance(source, MappingNode):
                merged.extend(source.value)
    written = {key_node.value for key_node, _ in own if isinstance(key_node, ScalarNode)}
    for key_node, value_node in merged:
        if isinstance(key_node, ScalarNode) and key_node.value not in written:
            written.add(key_node.value)
            yield (key_node, value_node)
    yield from own


class _Builder:
    """Nodes to plain values, guided by a shape."""

    def __init__(self, dialect: Dialect) -> None:
        self.flaws: list[Flaw] = []
        self._strict = dialect == "strict"
        self._values = 0

    def build(self, node: Node, shape: Shape, path: PathKeys) -> Any:
        self._values += 1
        if self._values > MAXIMUM_VALUES:
            message = f"the document holds more than {MAXIMUM_VALUES:,} values"
            raise _TooMuchError(node, "too-large", message)
        if len(path) > MAXIMUM_DEPTH:
            raise _TooMuchError(node, "too-deep", _TOO_DEEP)
        if isinstance(node, ScalarNode):
            return self._scalar(node, shape, path)
        if node.tag != _COLLECTION:
            self._refuse_tag(node, path)
        if isinstance(node, MappingNode):
            return self._mapping(node, shape, path)
        items = shape.items or _ANY
        return [self.build(item, items, (*path, n)) for n, item in enumerate(node.value)]

    def _mapping(self, node: MappingNode, shape: Shape, path: PathKeys) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        others = shape.others or _ANY
        for key_node, value_node in node.value if self._strict else _merged(node):
            key = key_node.value
            if not isinstance(key, str):
                self._refuse(key_node, path, "complex-key", "a list or mapping is used as a key")
            elif key == "<<" and key_node.tag == _PLAIN:
                message = "`<<` merges another mapping into this one"
                self._refuse(key_node, path, "merge-key", message, "write it out")
            elif key in mapping:
                first = next(one for one, _ in node.value if one.value == key)
                message = (
                    f"`{key}` is written twice; the first is on line {first.start_mark.line + 1}"
                )
                place = (*path, key)
                self._refuse(key_node, place, "duplicate-key", message, "keep one of the two")
            else:
                inner = shape.properties.get(key, others)
                mapping[key] = self.build(value_node, inner, (*path, key))
        return mapping

    def _scalar(self, node: ScalarNode, shape: Shape, path: PathKeys) -> Any:
        if node.tag == _QUOTED:
            return node.value
        if node.tag == _PLAIN:
            return self._plain(node, shape, path)
        if not self._strict and node.tag in _VAULT_TAGS:
            return Encrypted()
        if self._strict or node.tag != "!unsafe":
            self._refuse_tag(node, path)
        return node.value

    def _plain(self, node: ScalarNode, shape: Shape, path: PathKeys) -> Any:
        text: str = node.value
        if text in _WORDS:
            return _WORDS[text]
        if shape.wants == "text":
            return text
        if _INTEGER.match(text):
            return int(text)
        if _DECIMAL.match(text) and repr(number := float(text)) == text:
            return number
        if shape.wants == "number":
            return text
        return self._ambiguous(node, path) if self._strict else _as_ansible_reads(text)

    def _ambiguous(self, node: ScalarNode, path: PathKeys) -> str:
        text: str = node.value
        if _AMBIGUOUS.match(text):
            lowered = text.lower()
            meant = {"y": "true", "yes": "true", "on": "true"}.get(
                lowered, "false" if lowered in {"n", "no", "off"} else "the plain number"
            )
            message = f"`{text}` is one thing to one YAML reader and another to the next"
            quoted = json.dumps(text, ensure_ascii=False)
            suggestion = f"{quoted} when it is text, {meant} otherwise"
            self._refuse(node, path, "ambiguous", message, suggestion)
        return text

    def _refuse_tag(self, node: Node, path: PathKeys) -> None:
        message = f"the YAML tag {node.tag} is not read"
        self._refuse(node, path, "tag", message, "leave the tag out")

    def _refuse(
        self, node: Node, path: PathKeys, reference: str, message: str, suggestion: str = ""
    ) -> None:
        mark = node.start_mark
        line, column = mark.line + 1, mark.column + 1
        self.flaws.append(Flaw(line, column, path, reference, message, suggestion))


def _as_ansible_reads(text: str) -> Any:
    resolver = Resolver()
    tag = resolver.resolve(ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    node = ScalarNode(tag, text)
    try:
        return SafeConstructor().construct_object(node)
    except (ValueError, OverflowError, yaml.YAMLError):
        return text
