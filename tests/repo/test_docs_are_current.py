"""The generated pages are what docs/generate.py would write now."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name", ["fleet.md", "servers.md", "site.md", "lock.md", "mitigations.md", "cli.md"]
)
def test_a_page_is_current(name: str) -> None:
    path = ROOT / "docs" / "reference" / name
    wanted = generator().pages()[path]
    assert path.read_text(encoding="utf-8") == wanted, "run: python docs/generate.py"


def test_every_verb_has_an_example() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    examples: dict[str, bool] = {}
    for section in page.split("\n## owc-deploy ")[1:]:
        verb = section.split()[0]
        examples[verb] = examples.get(verb, False) or f"  owc-deploy {verb}" in section
    assert len(examples) > 10
    assert [verb for verb, shown in examples.items() if not shown] == []
