"""JSON Schemas: found, compiled for speed, and their errors said in plain words.

jsonschema is the authority and finds every error, but takes 2 ms for a manifest. Almost every
document is good, so a compiled check answers that first; a test proves that the two agree.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from owc_deploy.fleet.yaml_reader import Encrypted, PathKeys, Shape
from owc_deploy.resources import resource_folder

if TYPE_CHECKING:
    from jsonschema import ValidationError

SchemaName = Literal[
    "fleet",
    "servers",
    "site",
    "lock",
    "mitigations",
    "variables",
    "catalogue",
    "catalogue-source",
    "catalogue-metadata",
    "publiccode",
    "block-source",
]
Check = Callable[[Any], bool]

_SHOWN_CHARACTERS = 80
_WRONG_KIND = frozenset({"type", "empty"})
_ANNOTATIONS = frozenset(
    {
        "$schema",
        "$id",
        "$defs",
        "title",
        "description",
        "examples",
        "default",
        "patternErrorMessage",
    }
)
_TYPES: Mapping[str, Check] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
_TYPE_WORDS = {
    "object": "a mapping (`key: value` lines)",
    "array": "a list (lines beginning with `- `)",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One place where a document breaks its schema; `at_key` when the key itself is wrong."""

    path: PathKeys
    reference: str
    message: str
    suggestion: str = ""
    at_key: bool = False


@functools.cache
def schema(name: SchemaName) -> Mapping[str, Any]:
    """Return the JSON Schema of one kind of document.

    `variables` are the files in group_vars/ and host_vars/, which servers.yml's schema describes.
    """
    if name == "variables":
        servers = schema("servers")
        return {**servers["$defs"]["variables"], "$defs": servers["$defs"]}
    text = (resource_folder("schemas") / f"{name}.schema.json").read_text(encoding="utf-8")
    loaded: Mapping[str, Any] = json.loads(text)
    return loaded


@functools.cache
def shape(name: SchemaName) -> Shape:
    """Return where the schema wants text and where numbers."""
    root = schema(name)
    return _shape(root, root, {})


@functools.cache
def check(name: SchemaName) -> Check:
    """Return a fast function that tells whether a document keeps to its schema."""
    root = schema(name)
    return _compile(root, root, {})


def violations(name: SchemaName, document: Any) -> tuple[Violation, ...]:
    """Return every place where the document breaks its schema, none when it does not."""
    if check(name)(document):
        return ()
    # A key that is named and also fits a pattern is judged twice, with the same verdict.
    found = dict.fromkeys(
        violation for error in validator(name).iter_errors(document) for violation in _words(error)
    )
    # What is of the wrong kind altogether is not also of the wrong form.
    wrong_kind = {one.path for one in found if one.reference in _WRONG_KIND}
    return tuple(one for one in found if one.path not in wrong_kind or one.reference in _WRONG_KIND)


# How the schema is walked ------------------------------------------------------------------------


def _target(part: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    target: Mapping[str, Any] = root["$defs"][part["$ref"].removeprefix("#/$defs/")]
    return target


def _shape(part: Any, root: Mapping[str, Any], known: dict[int, Shape]) -> Shape:
    if not isinstance(part, dict):
        return Shape()
    if "$ref" in part:
        return _shape(_target(part, root), root, known)
    if id(part) in known:
        return known[id(part)]
    # Known before it is complete: a schema may contain itself, as groups hold groups.
    known[id(part)] = found = Shape()
    branches = [_shape(branch, root, known) for branch in part.get("anyOf", ())]
    if part.get("type") == "string" or any(branch.wants == "text" for branch in branches):
        found.wants = "text"
    elif part.get("type") in ("integer", "number"):
        found.wants = "number"
    for branch in branches:
        found.properties.update(branch.properties)
    for key, value in part.get("properties", {}).items():
        found.properties[key] = _shape(value, root, known)
    others = part.get("additionalProperties") or next(
        iter(part.get("patternProperties", {}).values()), None
    )
    found.others = _shape(others, root, known) if others else None
    found.items = _shape(part["items"], root, known) if "items" in part else None
    return found


def _compile(part: Any, root: Mapping[str, Any], known: dict[int, list[Check]]) -> Check:
    if part is True:
        return _always
    if part is False:
        return _never
    if id(part) in known:
        checks = known[id(part)]
        return functools.partial(_all, checks)
    known[id(part)] = checks = []
    for keyword, value in part.items():
        if keyword in _ANNOTATIONS or keyword in {"properties", "patternProperties"}:
            continue
        if keyword == "$ref":
            checks.append(_compile(_target(part, root), root, known))
        elif keyword == "additionalProperties":
            continue
        else:
            checks.append(_KEYWORDS[keyword](value, root, known))
    if not _MEMBERS.isdisjoint(part):
        checks.append(_members(part, root, known))
    return checks[0] if len(checks) == 1 else functools.partial(_all, checks)


_MEMBERS = frozenset({"properties", "patternProperties", "additionalProperties"})


def _all(checks: list[Check], value: Any) -> bool:
    for one in checks:  # noqa: SIM110  a generator costs more than the checks
        if not one(value):
            return False
    return True


def _always(value: Any) -> bool:
    del value
    return True


def _never(value: Any) -> bool:
    del value
    return False


def _members(
    part: Mapping[str, Any], root: Mapping[str, Any], known: dict[int, list[Check]]
) -> Check:
    properties = {k: _compile(v, root, known) for k, v in part.get("properties", {}).items()}
    patterns = [
        (re.compile(strict_end(k)), _compile(v, root, known))
        for k, v in part.get("patternProperties", {}).items()
    ]
    others = _compile(part.get("additionalProperties", True), root, known)

    def members(value: Any) -> bool:
        if not isinstance(value, dict):
            return True
        for key, member in value.items():
            one = properties.get(key)
            if one is not None and not one(member):
                return False
            matched = one is not None
            for pattern, matching in patterns:
                if pattern.search(key):
                    matched = True
                    if not matching(member):
                        return False
            if not matched and not others(member):
                return False
        return True

    return members


def _type(value: Any, _root: Any, _known: Any) -> Check:
    if isinstance(value, str):
        return _TYPES[value]
    alternatives = [_TYPES[name] for name in value]
    return lambda instance: any(one(instance) for one in alternatives)


def _pattern(value: str, _root: Any, _known: Any) -> Check:
    search = re.compile(strict_end(value)).search
    return lambda instance: not isinstance(instance, str) or search(instance) is not None


def _required(value: list[str], _root: Any, _known: Any) -> Check:
    required = frozenset(value)
    return lambda instance: not isinstance(instance, dict) or required <= instance.keys()


def _enum(value: list[Any], _root: Any, _known: Any) -> Check:
    if any(isinstance(one, bool | float) or one is None for one in value):
        raise TypeError(value)
    return lambda instance: not isinstance(instance, bool) and instance in value


def _const(value: Any, root: Any, known: Any) -> Check:
    return _enum([value], root, known)


def _items(value: Any, root: Mapping[str, Any], known: dict[int, list[Check]]) -> Check:
    one = _compile(value, root, known)
    return lambda instance: not isinstance(instance, list) or all(map(one, instance))


def _property_names(value: Any, root: Mapping[str, Any], known: dict[int, list[Check]]) -> Check:
    one = _compile(value, root, known)
    return lambda instance: not isinstance(instance, dict) or all(map(one, instance))


def _any_of(value: list[Any], root: Mapping[str, Any], known: dict[int, list[Check]]) -> Check:
    branches = [_compile(branch, root, known) for branch in value]
    return lambda instance: any(branch(instance) for branch in branches)


def _unique(value: bool, _root: Any, _known: Any) -> Check:
    if not value:
        return _always

    def unique(instance: Any) -> bool:
        if not isinstance(instance, list):
            return True
        return len({json.dumps(one, sort_keys=True, default=str) for one in instance}) == len(
            instance
        )

    return unique


def _bound(
    kind: type | tuple[type, ...], within: Callable[[Any, Any], bool]
) -> Callable[..., Check]:
    def keyword(value: Any, _root: Any, _known: Any) -> Check:
        return lambda instance: (
            not isinstance(instance, kind) or isinstance(instance, bool) or within(instance, value)
        )

    return keyword


_KEYWORDS: Mapping[str, Callable[..., Check]] = {
    "type": _type,
    "pattern": _pattern,
    "required": _required,
    "enum": _enum,
    "const": _const,
    "items": _items,
    "propertyNames": _property_names,
    "anyOf": _any_of,
    "uniqueItems": _unique,
    "minLength": _bound(str, lambda text, limit: len(text) >= limit),
    "maxLength": _bound(str, lambda text, limit: len(text) <= limit),
    "minItems": _bound(list, lambda items, limit: len(items) >= limit),
    "maxItems": _bound(list, lambda items, limit: len(items) <= limit),
    "minimum": _bound((int, float), lambda number, limit: number >= limit),
    "maximum": _bound((int, float), lambda number, limit: number <= limit),
}


def strict_end(pattern: str) -> str:
    """Let `$` mean the very end, as in ECMA 262; Python's also matches before a last newline."""
    return re.sub(r"(?<!\\)\$(?=\Z|\))", r"\\Z", pattern)


# jsonschema, and its errors in plain words -------------------------------------------------------


def _pattern_keyword(
    _validator: Any, pattern: str, instance: Any, _schema: Any
) -> Iterator[ValidationError]:
    from jsonschema import ValidationError  # noqa: PLC0415

    if isinstance(instance, str) and not re.search(strict_end(pattern), instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties_keyword(
    validator: Any, patterns: Mapping[str, Any], instance: Any, _schema: Any
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, part in patterns.items():
            for key, member in instance.items():
                if re.search(strict_end(pattern), key):
                    yield from validator.descend(member, part, path=key, schema_path=pattern)


@functools.cache
def validator(name: SchemaName) -> Any:
    """Return the jsonschema validator, whose word the compiled check must equal."""
    # A good fleet never needs it, and importing it takes 0.1 s.
    from jsonschema import Draft202012Validator  # noqa: PLC0415
    from jsonschema.validators import extend  # noqa: PLC0415

    kind: Any = extend(  # type: ignore[no-untyped-call]
        Draft202012Validator,
        {"pattern": _pattern_keyword, "patternProperties": _pattern_properties_keyword},
        type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
            "integer", lambda _checker, value: _TYPES["integer"](value)
        ),
    )
    kind.check_schema(schema(name))
    return kind(schema(name))


def _part(error: ValidationError) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", error.schema)


def _wanted(error: ValidationError) -> Any:
    return error.validator_value


def _found(error: ValidationError) -> Any:
    return error.instance


def _shown(value: Any) -> str:
    """Quote what was written, at a length that a person reads."""
    text = str(value)
    return f"`{text}`" if len(text) <= _SHOWN_CHARACTERS else f"`{text[:_SHOWN_CHARACTERS]}...`"


def _words(error: ValidationError) -> Iterator[Violation]:
    path: PathKeys = tuple(error.absolute_path)
    keyword = str(error.validator)
    explain = _EXPLANATIONS.get(keyword)
    if keyword == "anyOf":
        yield from _best_branch(error)
    elif keyword == "additionalProperties":
        yield from _unknown_keys(error, path)
    elif keyword == "required":
        yield from _missing_key(error, path)
    elif error.parent is None and "propertyNames" in error.absolute_schema_path:
        words = str(_part(error).get("patternErrorMessage", error.message))
        yield Violation(
            (*path, str(_found(error))), "name", f"{_shown(_found(error))} {words}", at_key=True
        )
    elif explain is not None:
        yield explain(error, path)
    else:
        yield Violation(path, keyword, error.message)


def _best_branch(error: ValidationError) -> Iterator[Violation]:
    """Explain the branch that is of the value's own kind; name the kinds when none is."""
    branches: dict[Any, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.schema_path[0], []).append(inner)
    for inners in branches.values():
        if not any(inner.validator == "type" and len(inner.path) == 0 for inner in inners):
            for inner in inners:
                yield from _words(inner)
            return
    kinds = [
        str(inner.validator_value) for inner in error.context or () if inner.validator == "type"
    ]
    yield _wrong_type(tuple(error.absolute_path), kinds, _found(error))


def _unknown_keys(error: ValidationError, path: PathKeys) -> Iterator[Violation]:
    known = list(_part(error).get("properties", {}))
    patterns = [strict_end(p) for p in _part(error).get("patternProperties", {})]
    for key in _found(error):
        if key in known or any(re.search(p, key) for p in patterns):
            continue
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        free = [k for k in known if k not in _found(error)]
        yield Violation(
            (*path, key),
            "unknown-key",
            f"{_shown(key)} is not a key that belongs here",
            f"{close[0]}" if close else f"one of: {', '.join(free)}" if free else "leave it out",
            at_key=True,
        )


def _missing_key(error: ValidationError, path: PathKeys) -> Iterator[Violation]:
    key = error.message.split("'")[1]
    examples = _part(error).get("properties", {}).get(key, {}).get("examples", [""])
    yield Violation(
        path,
        "missing-key",
        f"`{key}` is missing",
        f"{key}: {_as_yaml(examples[0])}",
        at_key=True,
    )


def _as_yaml(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _wrong_type(path: PathKeys, kinds: list[str], value: Any, example: str = "") -> Violation:
    wanted = " or ".join(_TYPE_WORDS[kind] for kind in kinds)
    if value is None:
        return Violation(path, "empty", f"nothing is written here; it must be {wanted}", example)
    if isinstance(value, Encrypted):
        return Violation(path, "type", f"this may not be encrypted: it must be {wanted}", example)
    found = next(_TYPE_WORDS[name] for name, matches in _TYPES.items() if matches(value))
    if "string" in kinds and isinstance(value, bool):
        example = f'"{str(value).lower()}"'
    return Violation(path, "type", f"must be {wanted}, not {found}", example, at_key=False)


def _explain_type(error: ValidationError, path: PathKeys) -> Violation:
    kinds = _wanted(error)
    return _wrong_type(
        path, [kinds] if isinstance(kinds, str) else list(kinds), _found(error), _example(error)
    )


def _explain_pattern(error: ValidationError, path: PathKeys) -> Violation:
    words = str(_part(error).get("patternErrorMessage", error.message))
    return Violation(
        path, "format", f"{_shown(_found(error))} {words}", _repaired(error) or _example(error)
    )


def _explain_enum(error: ValidationError, path: PathKeys) -> Violation:
    allowed = [str(one) for one in _wanted(error)]
    close = difflib.get_close_matches(str(_found(error)), allowed, n=1, cutoff=0.6)
    return Violation(
        path,
        "not-allowed",
        f"{_shown(_found(error))} is not one of {', '.join(allowed)}",
        close[0] if close else f"one of: {', '.join(allowed)}",
    )


def _explain_const(error: ValidationError, path: PathKeys) -> Violation:
    wanted = _wanted(error)
    return Violation(path, "not-allowed", f"{_shown(_found(error))} must be {wanted}", str(wanted))


def _explain_unique(error: ValidationError, path: PathKeys) -> Violation:
    items = _found(error)
    twice = next((one for n, one in enumerate(items) if one in items[:n]), "")
    return Violation(path, "duplicate", f"{_shown(twice)} is listed twice", "list it once")


def _explain_bound(words: str) -> Callable[[ValidationError, PathKeys], Violation]:
    def explain(error: ValidationError, path: PathKeys) -> Violation:
        return Violation(path, "out-of-range", words.format(limit=_wanted(error)), _example(error))

    return explain


_EXPLANATIONS: Mapping[str, Callable[[ValidationError, PathKeys], Violation]] = {
    "type": _explain_type,
    "pattern": _explain_pattern,
    "enum": _explain_enum,
    "const": _explain_const,
    "uniqueItems": _explain_unique,
    "minLength": _explain_bound("must be at least {limit} characters"),
    "maxLength": _explain_bound("must be at most {limit} characters"),
    "minItems": _explain_bound("must list at least {limit}"),
    "maxItems": _explain_bound("must list at most {limit}"),
    "minimum": _explain_bound("must be at least {limit}"),
    "maximum": _explain_bound("must be at most {limit}"),
}


def _example(error: ValidationError) -> str:
    examples = _part(error).get("examples") or [""]
    return f"for instance {_as_yaml(examples[0])}" if examples[0] != "" else ""


def _repaired(error: ValidationError) -> str:
    """Return the author's own value made to fit, when a simple change makes it fit."""
    text: str = _found(error)
    candidates = [text.strip(), text.strip().lower(), text.strip().lower().replace("_", "-")]
    lowered = candidates[1]
    candidates += [lowered.replace("http://", "https://", 1), f"https://{lowered}"]
    candidates += [] if ":" in text else [f"/{text}"]
    bare = lowered.removeprefix("https://").removeprefix("http://").split("/")[0].split(":")[0]
    candidates += [bare, f"https://{bare}"]
    with contextlib.suppress(UnicodeError):
        candidates += [name := bare.encode("idna").decode(), f"https://{name}"]
    for candidate in candidates:
        if re.search(strict_end(str(_wanted(error))), candidate):
            return candidate
    return ""
