"""What must be seen of a release before it is called good.

Neither WP-CLI's word nor a page that answers 200 is proof: blocks switch themselves off and the
page still answers. So what WordPress reports is compared with what the specification asked for.
Judging is pure; asking is in `ask_pages`.
"""

from __future__ import annotations

import html
import http.client
import re
import socket
import ssl
import time
from typing import Any, NamedTuple

PHP_ERROR = re.compile(
    r"(Fatal error|Parse error|Uncaught Error|There has been a critical error on this website)"
)


class Answer(NamedTuple):
    """What one page answered: status (0 when there was no answer), body text, seconds."""

    path: str
    status: int
    body: str
    seconds: float
    error: str


def expected_plugins(specification: "dict[str, Any]") -> "dict[str, str]":
    """Return plugin file to header version, in activation order."""
    return {
        "%s/%s" % (block["folder"], block["main_file"]): block["header_version"]
        for block in specification["blocks"]
        if block["kind"] == "plugin"
    }


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
    for namespace in gate.get("rest_namespaces", []):
        if namespace not in report.get("rest_namespaces", []):
            problems.append("the REST namespace %s is missing" % namespace)
    for hook in gate.get("cron_hooks", []):
        if hook not in report.get("cron_hooks", []):
            problems.append("the cron event %s is missing" % hook)
    front = report.get("front_page", "")
    if not front.strip():
        problems.append("the front page is empty")
    elif PHP_ERROR.search(front):
        problems.append("the front page shows a PHP error")
    return problems


def judge_answers(pages: "list[dict[str, Any]]", answers: "list[Answer]") -> "list[str]":
    """Compare what the pages answered with what they should; return what is wrong, in words."""
    problems = []
    for page, answer in zip(pages, answers):
        if answer.error:
            problems.append("%s did not answer: %s" % (page["path"], answer.error))
        elif answer.status != page["status"]:
            problems.append("%s answers %d, not %d" % (page["path"], answer.status, page["status"]))
        elif PHP_ERROR.search(answer.body):
            problems.append("%s shows a PHP error" % page["path"])
        elif page.get("text") and page["text"] not in html.unescape(answer.body):
            problems.append("%s lacks the text %r" % (page["path"], page["text"]))
    return problems


def ask_pages(domain: str, pages: "list[dict[str, Any]]", tries: int = 3) -> "list[Answer]":
    """Ask the local web server for each page over TLS as a visitor would.

    A page that fails is asked again, up to `tries` times, so that one blip is no verdict.
    """
    return [_ask_until_good(domain, page, tries) for page in pages]


def _ask_until_good(domain: str, page: "dict[str, Any]", tries: int) -> Answer:
    answer = ask(domain, page["path"])
    for attempt in range(1, tries):
        if not judge_answers([page], [answer]):
            break
        time.sleep(0.2 * attempt)
        answer = ask(domain, page["path"])
    return answer


class _LocalConnection(http.client.HTTPSConnection):
    """HTTPS to this very server, whatever the name resolves to elsewhere."""

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", 443), self.timeout)
        # Asked over the loopback, where only the virtual host matters; that the certificate is one
        # that the outside trusts is checked where it is installed and by probes from outside.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.sock = context.wrap_socket(plain, server_hostname=self.host)


def ask(domain: str, path: str, timeout_seconds: float = 30) -> Answer:
    """Ask the local web server for one page of one domain."""
    started = time.monotonic()
    connection = _LocalConnection(domain, timeout=timeout_seconds)
    try:
        connection.request("GET", path, headers={"User-Agent": "owc-deploy gate"})
        response = connection.getresponse()
        body = response.read(2_000_000).decode("utf-8", "replace")
        return Answer(path, response.status, body, time.monotonic() - started, "")
    except (OSError, http.client.HTTPException) as error:
        return Answer(path, 0, "", time.monotonic() - started, str(error) or type(error).__name__)
    finally:
        connection.close()
