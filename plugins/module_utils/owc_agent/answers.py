"""What the controller asks the agent, and the answers: one JSON document each way.

Each answer imports what it needs when it is asked: a controller asks a few times for every change,
and importing all of the agent takes longer than most answers.
"""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any, Callable

from . import commands, install, layout


class RefusedError(Exception):
    """What was asked cannot be done; the message is for a person."""


def answer(asked: "dict[str, Any]") -> "dict[str, Any]":
    """Answer `{"ask": ..., "arguments": {...}}`, never with an exception.

    What comes back has `changed`; one that `failed` has `msg`, as a module of Ansible's would.
    """
    try:
        return {"changed": False, **QUESTIONS[asked["ask"]](**asked["arguments"])}
    except (RefusedError, commands.CommandError, layout.NameRefusedError, OSError) as error:
        return {"failed": True, "msg": str(error)}
    except Exception as error:
        # Without the error's own words: they may quote what was sent, a private key say.
        last = traceback.extract_tb(error.__traceback__)[-1]
        words = "%s (%s line %s)" % (type(error).__name__, last.name, last.lineno)
        return {"failed": True, "msg": words}


def _probe(known: "dict[str, str]") -> "dict[str, Any]":
    from . import probe

    return {"observed": probe.observe(known)}


def _artefacts(bundle: str) -> "dict[str, Any]":
    from . import archive, files

    try:
        received = archive.receive(bundle)
    except (archive.ArtefactRefusedError, OSError, ValueError) as error:
        raise RefusedError("artefacts refused: %s" % error) from error
    finally:
        files.remove_file(bundle)
    return {"changed": bool(received), "received": received}


def _secrets(items: "list[dict[str, Any]]") -> "dict[str, Any]":
    from . import fences, secret_files

    try:
        # The transaction of a site that somebody else has taken over says so itself.
        sites = secret_files.place(fences.without_overtaken(items))
    except (commands.CommandError, OSError, ValueError) as error:
        words = "private keys could not be placed, nothing was changed: %s" % error
        raise RefusedError(words) from error
    return {"changed": bool(sites), "sites": sites}


def _transactions(
    start: "list[dict[str, Any]]",
    verdicts: "list[dict[str, Any]]",
    flights: "list[dict[str, str]]",
    wait_seconds: float = 20.0,
) -> "dict[str, Any]":
    """Start transactions, give waiting ones their verdict, report those that got on (`jobs`)."""
    from . import jobs

    finished = jobs.start(start)
    refused = {outcome["site"] for outcome in finished}
    jobs.give_verdicts(verdicts)
    told = {item["site"] for item in verdicts}
    flying = [flight for flight in flights if flight["site"] not in told]
    flying += [job for job in start if job["site"] not in refused]
    settled = [flight for flight in flights if flight["site"] in told]
    ended, provisional = jobs.wait(flying, settled, wait_seconds)
    return {"finished": finished + ended, "provisional": provisional}


def _fences(sites: "list[dict[str, Any]]") -> "dict[str, Any]":
    from . import fences

    return {"sites": fences.announce(sites)}


def _mitigations(sites: "list[dict[str, Any]]") -> "dict[str, Any]":
    from . import mitigations

    outcomes = mitigations.converge(sites)
    return {
        "changed": any(outcome["outcome"] == "changed" for outcome in outcomes),
        "outcomes": outcomes,
    }


def _logs(site: str, lines: int) -> "dict[str, Any]":
    from . import logs

    return {"lines": logs.recent(site, lines)}


def _access(site: str, login: str) -> "dict[str, Any]":
    from . import access, wordpress

    try:
        link = access.access_link(site, login)
    except (wordpress.WordPressError, commands.CommandError, ValueError) as error:
        raise RefusedError(str(error)) from error
    return {"changed": True, "link": link}


QUESTIONS: "dict[str, Callable[..., dict[str, Any]]]" = {
    "probe": _probe,
    "artefacts": _artefacts,
    "secrets": _secrets,
    "transactions": _transactions,
    "fences": _fences,
    "mitigations": _mitigations,
    "logs": _logs,
    "access": _access,
}


def main() -> None:
    """Answer what comes on standard input, where no process list shows it, in one line."""
    asked = json.load(sys.stdin.buffer)
    answered = answer(asked) if install.is_whole() else {"absent": True}
    sys.stdout.write("\n" + json.dumps(answered) + "\n")
