#!/usr/bin/env python3
"""Put a plan on the pull or merge request that it belongs to, in place of the plan of before.

    printf '%s' "$TOKEN" | python3 ci/comment.py plan.md

Written by `owc-deploy init --ci`, and yours to change. Works on GitHub, Forgejo, Gitea and GitLab,
which it knows by the variables that each sets for its jobs. Needs Python 3.9 and nothing else.
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

MARK = "<!-- owc-deploy plan -->"
TIMEOUT_SECONDS = 30
PER_PAGE = 50
MOST_PAGES = 100
# 401, 403 and 404 are how forges say that a token may not ask something.
REFUSED = {401, 403, 404}


def places():
    """Return the addresses of the comments, of one, and of who we are; how to change; a header."""
    if "CI_API_V4_URL" in os.environ:
        project = urllib.parse.quote(os.environ["CI_PROJECT_ID"], safe="")
        number = urllib.parse.quote(os.environ["CI_MERGE_REQUEST_IID"], safe="")
        notes = f"{os.environ['CI_API_V4_URL']}/projects/{project}/merge_requests/{number}/notes"
        me = f"{os.environ['CI_API_V4_URL']}/user"
        return notes, notes + "/{id}", me, "PUT", ("PRIVATE-TOKEN", "{token}")
    repository = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}"
    number = urllib.parse.quote(os.environ["PULL_REQUEST"], safe="")
    comments = f"{repository}/issues/{number}/comments"
    return (
        comments,
        f"{repository}/issues/comments/{{id}}",
        f"{os.environ['GITHUB_API_URL']}/user",
        "PATCH",
        ("Authorization", "token {token}"),
    )


def ask(method, address, header, document=None):
    """Make one request and return what the forge answers."""
    name, value = header
    request = urllib.request.Request(
        address,
        data=None if document is None else json.dumps(document).encode(),
        headers={name: value, "Content-Type": "application/json", "Accept": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        return json.load(answer)


def ourselves(me, header):
    """Return the number of the token's user, or None for a job's token, which may not ask that."""
    try:
        return ask("GET", me, header)["id"]
    except urllib.error.HTTPError as error:
        if error.code not in REFUSED:
            raise
        return None


def is_ours(comment, us):
    """Return whether the job wrote this: the author of another may change it after the job."""
    author = comment.get("user") or comment.get("author") or {}
    if us is not None:
        return author.get("id") == us
    # A job's token writes as a bot on GitHub, as a user without an account on Forgejo, Gitea.
    return author.get("type") == "Bot" or author.get("id", 0) < 0


def earlier(comments, header, us):
    """Return the comment of before, or None."""
    for page in range(1, MOST_PAGES + 1):
        # Each forge knows one of these two names for it.
        query = f"page={page}&per_page={PER_PAGE}&limit={PER_PAGE}"
        found = ask("GET", f"{comments}?{query}", header)
        for comment in found:
            if comment["body"].startswith(MARK) and is_ours(comment, us):
                return comment["id"]
        if not found:
            break
    return None


def main():
    """Write the comment; return the exit code."""
    token = sys.stdin.read().strip()
    file = Path(sys.argv[1])
    plan = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    body = f"{MARK}\n{plan or 'There is no plan: the log of the job says why.'}\n"
    comments, one, me, change, (name, value) = places()
    header = (name, value.format(token=token))
    try:
        known = earlier(comments, header, ourselves(me, header))
        if known is None:
            ask("POST", comments, header, {"body": body})
        else:
            ask(change, one.format(id=known), header, {"body": body})
    except urllib.error.HTTPError as error:
        print(
            f"The plan cannot be put on the request: {error.code} {error.reason}", file=sys.stderr
        )
        return 1
    except urllib.error.URLError as error:
        print(f"The plan cannot be put on the request: {error.reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
