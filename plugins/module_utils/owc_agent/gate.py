"""What must be seen of a release before it is called good.

Neither WP-CLI's word nor a page that answers 200 is proof: blocks switch themselves off and the
page still answers. So what WordPress reports is compared with what the specification asked for, and
with how the site was just before: what was broken then is not blamed on the release. One blip is no
verdict, and what cannot be told is not called good. Judging is pure; asking is in `ask_pages`.
"""

from __future__ import annotations

import html
import http.client
import json
import re
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Optional

PHP_ERROR = re.compile(
    r"(Fatal error|Parse error|Uncaught Error|There has been a critical error on this website)"
)


# What blocks and manifests declare of a running site, and what is said when it is not there.
DECLARED = {
    "rest_namespaces": "the REST namespace %s is missing",
    "rest_routes": "the REST route %s is missing",
    "cron_hooks": "the cron event %s is missing",
}
RELEASE_HEADER = "X-Owc-Release"
ASKED_TIMES = 3
GOOD_TIMES = 2


class Verdict(NamedTuple):
    """What a gate says: `pass`, `fail` or `inconclusive`, why, and how much was looked at."""

    word: str
    problems: "list[str]"
    notes: "list[str]"
    checked: int


class Answer(NamedTuple):
    """What one page answered: status (0 when there was no answer), body text, seconds.

    `release` is the mark of the release that answered: the last eight characters of its id.
    """

    path: str
    status: int
    body: str
    seconds: float
    error: str
    release: str = ""


Asker = Callable[[str], Answer]


def expected_plugins(specification: "dict[str, Any]") -> "dict[str, str]":
    """Return plugin file to header version, in activation order."""
    return {
        "%s/%s" % (block["folder"], block["main_file"]): block["header_version"]
        for block in specification["blocks"]
        if block["kind"] == "plugin"
    }


def cron_hooks(option: Any) -> "list[str]":
    """Return the hooks in a decoded `cron` option: time to hook to events."""
    if not isinstance(option, dict):
        return []
    events = [hooks for hooks in option.values() if isinstance(hooks, dict)]
    return sorted({str(hook) for hooks in events for hook in hooks})


def _judge_plugins(specification: "dict[str, Any]", report: "dict[str, Any]") -> "list[str]":
    problems = []
    expected = expected_plugins(specification)
    seen = report.get("plugins", {})
    switched_off = set(report.get("deactivated", []))
    for plugin, version in expected.items():
        if plugin in switched_off or plugin not in seen:
            problems.append("%s switched itself off" % plugin)
        elif seen[plugin] != version:
            problems.append("%s is version %s, not %s" % (plugin, seen[plugin], version))
    problems += [
        "%s is active and not in the lock" % plugin for plugin in seen if plugin not in expected
    ]
    return problems


def judge_report(specification: "dict[str, Any]", report: "dict[str, Any]") -> "list[str]":
    """Compare what WordPress reports with the specification; return what is wrong, in words."""
    problems = _judge_plugins(specification, report)
    if report.get("theme") != specification["theme"]["folder"]:
        problems.append(
            "the theme is %s, not %s" % (report.get("theme"), specification["theme"]["folder"])
        )
    if report.get("locale") != specification["locale"]:
        problems.append(
            "the language is %s, not %s" % (report.get("locale"), specification["locale"])
        )
    gate = specification["gate"]
    for kind, words in DECLARED.items():
        present = report.get(kind, [])
        problems += [words % name for name in gate.get(kind, []) if name not in present]
    if report.get("database_version") != report.get("code_database_version"):
        problems.append(
            "the database is at version %s, the code wants %s"
            % (report.get("database_version"), report.get("code_database_version"))
        )
    front = report.get("front_page", "")
    if not front.strip():
        problems.append("the front page is empty")
    elif PHP_ERROR.search(front):
        problems.append("the front page shows a PHP error")
    return problems


def judge_answer(page: "dict[str, Any]", answer: Answer) -> str:
    """Compare what a page answered with what it should; return what is wrong, `""` for nothing."""
    path = page["path"]
    if answer.error:
        return "%s did not answer: %s" % (path, answer.error)
    if answer.status != page["status"]:
        return "%s answers %d, not %d" % (path, answer.status, page["status"])
    if PHP_ERROR.search(answer.body):
        return "%s shows a PHP error" % path
    if page.get("text") and page["text"] not in html.unescape(answer.body):
        return "%s lacks the text %r" % (path, page["text"])
    return ""


def judge_page(page: "dict[str, Any]", answers: "list[Answer]") -> "tuple[str, str]":
    """Return the verdict on one page that was asked for once or `ASKED_TIMES`, and why.

    Good at once, or twice of three, passes. Never good fails, unless there was no answer at all:
    then it is not known what the page would have said. Good once of three is not known either.
    """
    problems = [judge_answer(page, answer) for answer in answers]
    good = problems.count("")
    if good >= min(GOOD_TIMES, len(answers)):
        return "pass", ""
    worst = next(problem for problem in reversed(problems) if problem)
    if good:
        return "inconclusive", "%s (%d of %d times)" % (worst, len(answers) - good, len(answers))
    silent = all(answer.error for answer in answers)
    return ("inconclusive" if silent else "fail"), worst


def judge_pages(
    pages: "list[dict[str, Any]]", answers: "list[list[Answer]]", before: "dict[str, Any]"
) -> Verdict:
    """Return the verdict on all pages; `before` is the baseline (`take_baseline`).

    A page that the earlier release was to answer in the same way, and did not, is noted and not
    held against this one.
    """
    words, problems, notes = [], [], []
    for page, given in zip(pages, answers):
        word, problem = judge_page(page, given)
        if word != "pass" and excused(before, "pages", page_key(page)):
            notes.append("%s, as before" % problem)
            word = "pass"
        elif problem:
            problems.append(problem)
        words.append(word)
    worst = next((word for word in ("fail", "inconclusive") if word in words), "pass")
    return Verdict(worst, problems, notes, len(pages))


def page_key(page: "dict[str, Any]") -> str:
    """Return what makes two declared pages the same expectation."""
    return json.dumps([page["path"], page["status"], page.get("text")])


def excused(before: "dict[str, Any]", kind: str, name: str) -> bool:
    """Return whether the release before was to have this too, and had it not."""
    return name in before.get("missing", {}).get(kind, [])


def blame(problems: "list[str]", before: "dict[str, Any]") -> "tuple[list[str], list[str]]":
    """Split what `judge_report` says into problems of this release and what was so before."""
    old = {
        words % name
        for kind, words in DECLARED.items()
        for name in before.get("missing", {}).get(kind, [])
    }
    return (
        [problem for problem in problems if problem not in old],
        ["%s, as before" % problem for problem in problems if problem in old],
    )


def take_baseline(
    specification: "dict[str, Any]", cron_hooks: "Callable[[], list[str]]", asker: "Asker"
) -> "dict[str, Any]":
    """Return what the live release, built from `specification`, should have and has not.

    `cron_hooks` gives those in its database; `asker` asks the live site for a path, once.
    """
    expected = specification["gate"]
    missing: "dict[str, list[str]]" = {"pages": [], "rest_namespaces": [], "rest_routes": []}
    for page in expected["pages"]:
        if judge_answer(page, asker(page["path"])):
            missing["pages"].append(page_key(page))
    if expected.get("rest_namespaces"):
        present = _namespaces(asker("/wp-json/?_fields=namespaces"))
        if present is not None:
            missing["rest_namespaces"] = [
                n for n in expected["rest_namespaces"] if n not in present
            ]
    for route in expected.get("rest_routes", []):
        answer = asker("/wp-json" + route)
        if answer.status == http.client.NOT_FOUND and "rest_no_route" in answer.body:
            missing["rest_routes"].append(route)
    scheduled = cron_hooks()
    missing["cron_hooks"] = [h for h in expected.get("cron_hooks", []) if h not in scheduled]
    return {"missing": missing}


def _namespaces(answer: Answer) -> "Optional[list[str]]":
    try:
        return [str(name) for name in json.loads(answer.body)["namespaces"]]
    except (ValueError, KeyError, TypeError):
        return None


def ask_pages(
    domain: str, pages: "list[dict[str, Any]]", patience_seconds: float, before: "dict[str, Any]"
) -> Verdict:
    """Ask the local web server for each page over TLS, as a visitor would, and judge.

    While it cannot be told, all of it is asked again, for `patience_seconds`.
    """
    deadline = time.monotonic() + patience_seconds
    pause = 1.0
    while True:
        answers = [_ask_until_known(domain, page) for page in pages]
        verdict = judge_pages(pages, answers, before)
        if verdict.word != "inconclusive" or time.monotonic() + pause > deadline:
            return verdict
        time.sleep(pause)
        pause = min(pause * 2, 10.0)


def _ask_until_known(domain: str, page: "dict[str, Any]") -> "list[Answer]":
    answers = [ask(domain, page["path"])]
    while judge_answer(page, answers[0]) and len(answers) < ASKED_TIMES:
        time.sleep(0.2 * len(answers))
        answers.append(ask(domain, page["path"]))
    return answers


def _context() -> ssl.SSLContext:
    # What matters here is the virtual host; that the certificate is one that visitors trust is
    # checked where it is installed. So no authorities are read: that takes longer than to ask.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


_TLS = _context()


class _Connection(http.client.HTTPSConnection):
    """HTTPS to one address, whatever the name resolves to elsewhere."""

    def __init__(self, domain: str, address: str, timeout_seconds: float) -> None:
        super().__init__(domain, timeout=timeout_seconds)
        self._address = address

    def connect(self) -> None:
        plain = socket.create_connection((self._address, 443), self.timeout)
        self.sock = _TLS.wrap_socket(plain, server_hostname=self.host)


def ask(
    domain: str,
    path: str,
    timeout_seconds: float = 30,
    address: str = "127.0.0.1",
    body: str = "",
) -> Answer:
    """Ask the web server at `address` for one page of a domain; a `body` is sent as a form."""
    started = time.monotonic()
    connection = _Connection(domain, address, timeout_seconds)
    try:
        headers = {"User-Agent": "owc-deploy gate"}
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request("POST" if body else "GET", path, body or None, headers)
        response = connection.getresponse()
        said = response.read(2_000_000).decode("utf-8", "replace")
        release = response.getheader(RELEASE_HEADER) or ""
        return Answer(path, response.status, said, time.monotonic() - started, "", release)
    except (OSError, http.client.HTTPException) as error:
        words = str(error) or type(error).__name__
        return Answer(path, 0, "", time.monotonic() - started, words)
    finally:
        connection.close()
