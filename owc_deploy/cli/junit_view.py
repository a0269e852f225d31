"""JUnit XML, which CI systems show as tests: one for each site, in a suite for each ring; pure."""

from __future__ import annotations

from collections.abc import Iterable

from owc_deploy.cli.rows import Row
from owc_deploy.cli.view import plain
from owc_deploy.errors import Problem

_SERVERS = "servers"


def junit(verb: str, rows: Iterable[Row]) -> str:
    """Return the document of what a verb did or would do."""
    suites: dict[str, list[Row]] = {}
    for row in rows:
        suites.setdefault(f"ring {row.ring}" if row.ring else _SERVERS, []).append(row)
    return _document(verb, suites)


def problems_junit(problems: Iterable[Problem], sites: int | None) -> str:
    """Return the document of `validate`: a failure for each problem, in a suite for each file."""
    suites: dict[str, list[Row]] = {}
    for problem in problems:
        place = f"{problem.file}:{problem.line} {problem.path}".strip()
        row = Row(place, "", "", "failed", problem.message, details=problem.suggestion)
        suites.setdefault(str(problem.file), []).append(row)
    good = [Row(f"{sites} sites, no problems", "", "", "ok")]
    return _document("validate", suites or {"fleet": good})


def _document(verb: str, suites: dict[str, list[Row]]) -> str:
    import junitparser  # noqa: PLC0415  only for this format

    document = junitparser.JUnitXml(f"owc-deploy {verb}")
    for name, rows in suites.items():
        suite = junitparser.TestSuite(plain(name))
        cases = []
        for row in rows:
            case = junitparser.TestCase(plain(row.name), f"owc-deploy.{verb}", row.seconds)
            message = plain(row.message or row.outcome)
            if row.verdict == "failed":
                case.result = [junitparser.Failure(message, row.outcome)]
            elif row.verdict == "error":
                case.result = [junitparser.Error(message, row.outcome)]
            elif row.verdict == "skipped":
                case.result = [junitparser.Skipped(message, row.outcome)]
            told = [f"{row.outcome} on {row.server}"] if row.server else []
            lines = [*told, *row.details.splitlines()]
            if lines:
                # XML has no way to write most control characters at all.
                case.system_out = "\n".join(plain(line) for line in lines)
            cases.append(case)
        suite.add_testcases(cases)
        document.append(suite)
    document.update_statistics()
    text: str = document.tostring().decode("utf-8")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'
