"""YAML's traps, one per row, and text that never crashes the reader."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from owc_deploy.fleet import schema_check
from owc_deploy.fleet.yaml_reader import (
    MAXIMUM_BYTES,
    Encrypted,
    Shape,
    locate,
    read,
)

TEXT = Shape(others=Shape(wants="text"))
NUMBER = Shape(others=Shape(wants="number"))
ANY = Shape()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("8.2", "8.2"),
        ("8.10", "8.10"),
        ("8.30", "8.30"),
        ("7", "7"),
        ("022", "022"),
        ("12:30:00", "12:30:00"),
        ("no", "no"),
        ("on", "on"),
        ("1e3", "1e3"),
        ("0x1F", "0x1F"),
        ("2026-11-23", "2026-11-23"),
        ("=", "="),
        ("~", None),
        ("", None),
        ("true", True),
        ('"true"', "true"),
        ("'8.2'", "8.2"),
        ("|\n  one\n  two", "one\ntwo\n"),
    ],
)
def test_where_text_is_wanted_the_characters_are_kept(written: str, meant: Any) -> None:
    assert read(f"key: {written}\n".encode(), TEXT).data == {"key": meant}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1", 1),
        ("-3", -3),
        ("2.5", 2.5),
        ("text", "text"),
        ("true", True),
        ("2026-11-23", "2026-11-23"),
        ("[1, a]", [1, "a"]),
        ("{a: 1}", {"a": 1}),
    ],
)
def test_where_anything_may_stand_the_plain_types_of_yaml_are_read(
    written: str, meant: Any
) -> None:
    reading = read(f"key: {written}\n".encode(), ANY)
    assert (reading.data, reading.flaws) == ({"key": meant}, ())
    assert type(reading.data["key"]) is type(meant)


@pytest.mark.parametrize(
    "written",
    [
        "no",
        "On",
        "y",
        "022",
        "0x1F",
        "0o17",
        "12:30:00",
        "1_000",
        "1e3",
        "8.30",
        "+1",
        ".5",
        ".inf",
    ],
)
def test_where_anything_may_stand_ambiguous_scalars_are_refused(written: str) -> None:
    reading = read(f"a: 1\nkey: {written}\n".encode(), ANY)
    assert reading.data == {"a": 1, "key": written}
    (flaw,) = reading.flaws
    assert (flaw.line, flaw.column, flaw.path, flaw.reference) == (2, 6, ("key",), "ambiguous")
    assert f'"{written}"' in flaw.suggestion


def test_a_number_that_is_not_plainly_written_stays_text_for_the_schema_to_refuse() -> None:
    assert read(b"a: 022\nb: 5\n", NUMBER).data == {"a": "022", "b": 5}


@pytest.mark.parametrize(
    ("text", "reference", "line", "column", "words"),
    [
        (b"a: 1\nb: 2\na: 3\n", "duplicate-key", 3, 1, "line 1"),
        (b"a: !!python/object:os.system x\n", "tag", 1, 4, "tag"),
        (b"a: !vault x\n", "tag", 1, 4, "tag"),
        (b"a: !!map {b: 1}\n", "tag", 1, 4, "tag"),
        (b"a: 1\n---\nb: 2\n", "many-documents", 2, 1, "second document"),
        (b"a:\n\t- b\n", "tab", 2, 1, "tab"),
        (b"a: 1\nb: \xff\n", "not-utf-8", 2, 4, "0xff"),
        (b"a: b\x00c\n", "yaml", 1, 5, "control character"),
        (b"a: [1\n", "yaml", 2, 1, ""),
        (b"a: 1\n<<<<<<< HEAD\nb: 2\n=======\n", "merge-conflict", 2, 1, "merge in Git"),
        (b"a: b: c\n", "yaml", 1, 5, "second `key: value`"),
        (b"a: *missing\n", "yaml", 1, 4, "reference to nothing"),
        (b"x: &x {a: 1}\ny:\n  <<: *x\n", "merge-key", 3, 3, "merges"),
        (b"? [a]\n: 1\n", "complex-key", 1, 3, "key"),
        (b"a: &a [*a]\n", "too-deep", 1, 4, "nested"),
        (b"a" * (MAXIMUM_BYTES + 1), "too-large", 1, 1, "larger"),
        (b"[" * 200_000, "too-deep", 1, 41, "nested"),
        (b"[" * 1_500, "too-deep", 1, 41, "nested"),
        (b"- " * 1_500, "too-deep", 1, 81, "nested"),
        (b"a: " + b"[" * 60 + b"]" * 60, "too-deep", 1, 44, "nested"),
    ],
)
def test_flaws_are_said_with_their_place(
    text: bytes, reference: str, line: int, column: int, words: str
) -> None:
    flaw = read(text, ANY).flaws[0]
    assert (flaw.reference, flaw.line) == (reference, line)
    assert flaw.column == column
    assert words in flaw.message


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    reading = read("\n".join(lines).encode(), ANY)
    assert reading.data is None
    assert reading.flaws[0].reference == "too-large"


def test_ansible_values_are_read_as_ansible_reads_them() -> None:
    text = (
        b"a: yes\nb: 022\nc: !vault |\n  $ANSIBLE_VAULT;1.1\nd: &d {e: 1}\nf:\n  <<: *d\n  g: 2\n"
    )
    reading = read(text, ANY, "ansible")
    assert reading.flaws == ()
    assert reading.data == {
        "a": True,
        "b": 18,
        "c": Encrypted(),
        "d": {"e": 1},
        "f": {"e": 1, "g": 2},
    }


@pytest.mark.parametrize(
    ("path", "key", "place"),
    [
        ((), False, (1, 1)),
        (("a",), False, (2, 4)),
        (("a",), True, (2, 1)),
        (("list", 1, "name"), False, (5, 11)),
        (("list",), False, (3, 1)),
        (("list", 7), False, (3, 1)),
        (("absent",), False, (1, 1)),
    ],
)
def test_places_are_found(path: tuple[str | int, ...], key: bool, place: tuple[int, int]) -> None:
    text = b"# comment\na: 1\nlist:\n  - name: x\n  - name: y\n"
    assert locate(text, path, key=key) == place


YAML_LIKE = st.text(alphabet=st.sampled_from(list("ab:-[]{}#&*!|>'\"%@`,? \t\n0.8\\~<é\x00\ufeff")))


@settings(max_examples=300, deadline=None)
@given(text=YAML_LIKE | st.text())
@example(text="%YAML 9.9\n---\na: 1\n")
@example(text="'\n")
@example(text="&a")
def test_any_text_is_read_or_refused(text: str) -> None:
    raw = text.encode()
    for dialect in ("strict", "ansible"):
        reading = read(raw, schema_check.shape("site"), dialect)  # type: ignore[arg-type]
        for flaw in reading.flaws:
            assert flaw.line >= 1
            assert flaw.column >= 1
            assert flaw.message
    locate(raw, ("a", 0))


@settings(max_examples=100, deadline=None)
@given(raw=st.binary())
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    read(raw, ANY)
