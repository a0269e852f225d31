"""Which Apprise addresses may be used; pure.

Apprise speaks to over a hundred services, and some of them run programs or read files of this
machine. An address is encrypted, so that no reviewer sees it, and whoever knows our recipients can
write one: only what is listed here is accepted, and of each only what cannot read a file, switch
off the check of certificates or take more time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_MAIL = frozenset({"to", "from", "name", "smtp", "mode", "cc", "bcc", "reply", "user", "pass"})
_MATRIX = frozenset({"to", "token", "discovery", "hsreq", "mode", "path", "version", "msgtype"})
_MATTERMOST = frozenset({"to", "channel", "channels", "team", "botname", "mode"})
_NTFY = frozenset({"to", "token", "auth", "mode", "priority", "xtags"})
_ROCKET = frozenset({"to", "mode", "webhook"})
_WORKFLOW = frozenset({"id", "pa", "powerautomate", "route", "routeid", "wrap", "ver", "sig"})

# Scheme -> the parameters that may follow the question mark.
PARAMETERS: Mapping[str, frozenset[str]] = {
    "gchat": frozenset({"workspace", "key", "token", "thread"}),
    "json": frozenset(),
    "jsons": frozenset(),
    "mailto": _MAIL,
    "mailtos": _MAIL,
    "matrix": _MATRIX | {"e2ee"},
    "matrixs": _MATRIX | {"e2ee"},
    "mmost": _MATTERMOST,
    "mmosts": _MATTERMOST,
    "nctalk": frozenset({"secret"}),
    "nctalks": frozenset({"secret"}),
    "ntfy": _NTFY,
    "ntfys": _NTFY,
    "rocket": _ROCKET,
    "rockets": _ROCKET,
    "slack": frozenset({"to", "token", "mode", "botname", "blocks", "footer", "timestamp"}),
    "workflow": _WORKFLOW | {"api-version", "sp", "sv"},
    "workflows": _WORKFLOW | {"api-version", "sp", "sv"},
}
# A webhook of one's own takes headers (+), parameters of its own (-) and renamed fields (:).
_PREFIXED = {"json": "+-:", "jsons": "+-:"}
_SCHEME = re.compile(r"([a-z0-9]{1,32})://[^\s]+\Z", re.IGNORECASE)


def scheme_of(address: str) -> str:
    """Return an address' scheme in lower case, empty when it is no address on one line."""
    found = _SCHEME.match(address)
    return found[1].lower() if found else ""


def scheme_refusal(address: str) -> str:
    """Say why an address cannot be used for its scheme; empty when it can. Quotes no secret."""
    scheme = scheme_of(address)
    if not scheme:
        return "its secret does not hold one Apprise address, such as mailtos://user:pass@host"
    if scheme not in PARAMETERS:
        return f"{scheme}:// is not among {', '.join(f'{name}://' for name in PARAMETERS)}"
    return ""


def parameter_refusal(scheme: str, parameters: Iterable[str]) -> str:
    """Say which parameters of an address are not accepted; empty when all are."""
    refused = [
        name
        for name in parameters
        if name and name not in PARAMETERS[scheme] and name[0] not in _PREFIXED.get(scheme, "")
    ]
    if not refused:
        return ""
    known = ", ".join(sorted(PARAMETERS[scheme])) or "none"
    # Only the names: a value may be a token, and what is no name at all may be a part of one.
    names = ", ".join(sorted(name if name.isidentifier() else "?" for name in refused))
    return f"{scheme}:// takes no parameter {names} here, only: {known}"
