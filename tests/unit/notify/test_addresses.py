"""Which addresses are accepted, which are refused in words, and that Apprise takes their forms."""

from __future__ import annotations

import apprise
import pytest
from apprise.plugins import url_to_dict

from owc_deploy.notify.addresses import (
    PARAMETERS,
    parameter_refusal,
    scheme_of,
    scheme_refusal,
)
from owc_deploy.notify.delivery import deliver

TOKEN = "kanarie-7f3a"

GOOD = {
    "gchat": "gchat://workspace/webhookkey/webhooktoken",
    "json": "json://127.0.0.1:8080/hook?+X-Token=a&-room=beheer&:message=text",
    "jsons": "jsons://user:pass@hooks.voorbeeld.example/owc",
    "mailto": "mailto://smtp.voorbeeld.example:25?from=owc@voorbeeld.example&to=a@b.example",
    "mailtos": "mailtos://user:pass@voorbeeld.example?smtp=mail.voorbeeld.example&mode=starttls",
    "matrix": "matrix://user:pass@matrix.voorbeeld.example/%23beheer",
    "matrixs": "matrixs://token@matrix.voorbeeld.example/!room:voorbeeld.example?e2ee=no",
    "mmost": "mmost://chat.voorbeeld.example/3ccdd113474722377935511fc85d3dd4",
    "mmosts": "mmosts://chat.voorbeeld.example/3ccdd113474722377935511fc85d3dd4?to=beheer",
    "nctalk": "nctalk://user:pass@cloud.voorbeeld.example/secret/roomid",
    "nctalks": "nctalks://user:pass@cloud.voorbeeld.example/secret/roomid",
    "ntfy": "ntfy://ntfy.voorbeeld.example/beheer?priority=high",
    "ntfys": "ntfys://user:pass@ntfy.voorbeeld.example/beheer",
    "rocket": "rocket://user:pass@chat.voorbeeld.example/%23beheer",
    "rockets": "rockets://user:pass@chat.voorbeeld.example/%23beheer",
    "slack": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/%23beheer",
    "workflow": "workflow://prod-1.westeurope.voorbeeld.example:443/643e69f/signature/?ver=2016-06-01",
    "workflows": "workflows://prod-1.westeurope.voorbeeld.example:443/643e69f/signature/",
}


def test_every_scheme_has_an_example() -> None:
    assert set(GOOD) == set(PARAMETERS)


@pytest.mark.parametrize("address", GOOD.values(), ids=GOOD)
def test_apprise_takes_the_form_and_so_do_we(address: str) -> None:
    parts = url_to_dict(address)
    assert parts is not None
    assert parts["schema"] == scheme_of(address)
    assert scheme_refusal(address) == ""
    assert parameter_refusal(scheme_of(address), parts["qsd"]) == ""
    assert apprise.Apprise.instantiate(parts) is not None


@pytest.mark.parametrize(
    "scheme",
    # Local programs, local files, the desktop, other Apprise configurations, phones and money.
    [
        *("dbus", "syslog", "rsyslog", "gnome", "macosx", "windows", "file", "exec", "custom"),
        *("apprise", "apprises", "form", "xml", "http", "https", "twilio", "sns", "ses", "mqtt"),
    ],
)
def test_other_services_are_refused(scheme: str) -> None:
    refusal = deliver(f"{scheme}://{TOKEN}@127.0.0.1/x", "t", "b", "info")
    assert refusal.startswith(f"{scheme}:// is not among ")
    assert TOKEN not in refusal


@pytest.mark.parametrize(
    "address",
    [
        "",
        TOKEN,
        f"json:{TOKEN}",
        f"json://127.0.0.1/a\ndbus://{TOKEN}",
        f"json://127.0.0.1/a dbus://{TOKEN}",
        f" dbus://{TOKEN}",
        f"json\x00://{TOKEN}",
    ],
)
def test_what_is_not_one_address_is_refused(address: str) -> None:
    refusal = deliver(address, "t", "b", "info")
    assert "does not hold one Apprise address" in refusal
    assert TOKEN not in refusal


@pytest.mark.parametrize(
    ("scheme", "parameter"),
    [
        ("jsons", "verify=no"),
        ("jsons", "VERIFY=no"),
        ("jsons", "%76erify=no"),
        ("json", "cto=600"),
        ("json", "rto=600"),
        ("json", "redirect=yes"),
        ("json", "method=DELETE"),
        ("json", "retry=9"),
        ("mailto", "pgp=yes"),
        ("mailto", "pgpprv=/root/.gnupg/key.asc"),
        ("mailto", "pgppub=/etc/passwd"),
        ("mailtos", "to=a@b.example;pgppub=/etc/passwd"),
        ("workflows", "template=/etc/owc/secret.json"),
        ("slack", "template=file:///etc/owc/secret.json"),
        ("ntfy", "attach=http://127.0.0.1/x"),
        ("matrixs", "image=yes"),
        ("mmost", "store=no"),
    ],
)
def test_parameters_that_read_files_or_weaken_it_are_refused(scheme: str, parameter: str) -> None:
    mark = "&" if "?" in GOOD[scheme] else "?"
    refusal = deliver(f"{GOOD[scheme]}{mark}{parameter}", "t", "b", "info")
    name = parameter.rpartition(";")[2].partition("=")[0].lower().replace("%76", "v")
    assert refusal.startswith(f"{scheme}:// takes no parameter {name} here, only: ")


def test_a_token_that_stands_where_a_parameter_should_is_not_quoted() -> None:
    refusal = deliver(f"json://127.0.0.1/x?{TOKEN}", "t", "b", "info")
    assert refusal == "json:// takes no parameter ? here, only: none"
