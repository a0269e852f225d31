"""Channels are told, those that cannot be are named, and the work is never held up for long."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from email import message_from_string
from pathlib import Path

import pytest
from fakes.channels import Mailbox, Webhook, free_port, told_fleet

from owc_deploy.fleet.models import NotificationChannel, SecretReference
from owc_deploy.notify.message import Notice
from owc_deploy.notify.notifier import LEFT_ALONE_SECONDS, Notifier

NOTICE = Notice("rollout-halted", "voorbeeld", "openwoo", "heusden failed", "owc-deploy status")
CANARY = "kanarie-7f3a"


class Narrated(list[str]):
    def __call__(self, message: str) -> None:
        self.append(message)


@pytest.fixture
def narrated() -> Narrated:
    return Narrated()


def test_a_webhook_is_told(tmp_path: Path, narrated: Narrated) -> None:
    with Webhook().running() as hook:
        fleet = told_fleet(tmp_path, {"beheer": f"json://127.0.0.1:{hook.port}/{CANARY}"})
        Notifier(fleet, narrated).tell(NOTICE)
    assert narrated == []
    assert hook.paths == [f"/{CANARY}"]
    (sent,) = hook.seen
    assert sent["title"] == "Rollout halted: openwoo (voorbeeld)"
    assert sent["message"] == "heusden failed\n\nNext: owc-deploy status"
    assert sent["type"] == "failure"
    assert sent["attachments"] == []


def test_a_letter_is_sent(tmp_path: Path, narrated: Narrated) -> None:
    with Mailbox().running() as box:
        address = (
            f"mailto://127.0.0.1:{box.port}?from=owc@voorbeeld.example&to=beheer@voorbeeld.example"
        )
        fleet = told_fleet(tmp_path, {"beheer": address})
        Notifier(fleet, narrated).tell(replace(NOTICE, text="<b>heusden</b> is één\n*regel*"))
    assert narrated == []
    ((sender, recipients, text),) = box.letters
    assert (sender, recipients) == ("owc@voorbeeld.example", ["beheer@voorbeeld.example"])
    letter = message_from_string(text)
    assert letter["Subject"] == "Rollout halted: openwoo (voorbeeld)"
    (part,) = [part for part in letter.walk() if not part.is_multipart()]
    assert part.get_content_type() == "text/plain"
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode().splitlines()[:2] == ["<b>heusden</b> is één", "*regel*"]


def test_only_who_asked_hears_of_it(tmp_path: Path, narrated: Narrated) -> None:
    with Webhook().running() as hook:
        addresses = {"beheer": f"json://127.0.0.1:{hook.port}/x"}
        notifier = Notifier(told_fleet(tmp_path, addresses, "ring-ended"), narrated)
        notifier.tell(NOTICE)
        assert hook.seen == []
        notifier.tell(replace(NOTICE, event="ring-ended"))
        assert len(hook.seen) == 1


def test_who_asked_for_every_end_hears_of_an_incomplete_one(
    tmp_path: Path, narrated: Narrated
) -> None:
    with Webhook().running() as hook:
        addresses = {"beheer": f"json://127.0.0.1:{hook.port}/x"}
        notifier = Notifier(told_fleet(tmp_path, addresses, "rollout-ended"), narrated)
        notifier.tell(replace(NOTICE, event="rollout-incomplete"))
        assert len(hook.seen) == 1


def test_without_channels_nothing_is_started(
    tmp_path: Path, narrated: Narrated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.Popen", None)
    Notifier(told_fleet(tmp_path, {}), narrated).tell(NOTICE)
    assert narrated == []


def test_who_cannot_be_told_is_named_and_hides_nobody(
    tmp_path: Path, narrated: Narrated, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with ExitStack() as stack:
        good = stack.enter_context(Webhook().running())
        broken = stack.enter_context(Webhook(status=500).running())
        hanging = stack.enter_context(Webhook(hangs=True).running())
        elsewhere = stack.enter_context(Webhook().running())
        moved = stack.enter_context(
            Webhook(status=302, location=f"http://127.0.0.1:{elsewhere.port}/").running()
        )
        addresses = {
            "hanging": f"json://127.0.0.1:{hanging.port}/{CANARY}",
            "broken": f"json://127.0.0.1:{broken.port}/{CANARY}",
            "away": f"json://{CANARY}@127.0.0.1:{free_port()}/{CANARY}",
            "no-mail": f"mailto://a:{CANARY}@127.0.0.1:{free_port()}?from=a@b.example",
            "moved": f"json://127.0.0.1:{moved.port}/{CANARY}",
            "local": f"syslog://{CANARY}",
            "good": f"json://127.0.0.1:{good.port}/{CANARY}",
        }
        fleet = told_fleet(tmp_path, addresses)
        missing = NotificationChannel("missing", SecretReference("notify-missing"))
        settings = replace(fleet.settings, notifications=(missing, *fleet.settings.notifications))
        notifier = Notifier(replace(fleet, settings=settings), narrated, seconds=10)
        notifier.tell(NOTICE)
    assert len(good.seen) == 1
    assert elsewhere.seen == []
    told = {
        line.split(" was ")[0]: line.split(": ", 1)[1].split("; next: ")[0] for line in narrated
    }
    assert list(told) == ["missing", *(name for name in addresses if name != "good")]
    assert told["missing"].startswith("the secret `notify-missing` has no file")
    assert told["hanging"] == "it did not answer within 10 seconds"
    assert told["broken"] == "it answered 500"
    assert told["away"] == told["no-mail"] == "it could not be reached, or took no message"
    assert told["moved"] == "it answered 302"
    assert told["local"].startswith("syslog:// is not among ")
    assert narrated[0].endswith("; next: owc-deploy notify test missing")
    assert CANARY not in "\n".join([*narrated, caplog.text])


def test_who_does_not_answer_is_not_waited_for_again_soon(
    tmp_path: Path, narrated: Narrated
) -> None:
    passed = [0.0]
    with Webhook(hangs=True).running() as hook:
        fleet = told_fleet(tmp_path, {"beheer": f"json://127.0.0.1:{hook.port}/x"})
        notifier = Notifier(fleet, narrated, seconds=10, clock=lambda: passed[0])
        notifier.tell(NOTICE)
        passed[0] = LEFT_ALONE_SECONDS - 1
        notifier.tell(NOTICE)
        assert len(narrated) == 1
        hook.hangs = False
        passed[0] = LEFT_ALONE_SECONDS + 1
        notifier.tell(NOTICE)
        assert len(narrated) == 1
        assert len(hook.seen) >= 1


def test_nothing_is_raised_when_no_process_can_be_started(
    tmp_path: Path, narrated: Narrated, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = told_fleet(tmp_path, {"beheer": "json://127.0.0.1:1/x"})
    monkeypatch.setattr("sys.executable", str(tmp_path / "gone"))
    Notifier(fleet, narrated).tell(NOTICE)
    assert narrated[0].startswith("beheer was not told of rollout-halted: telling it failed with ")


def test_modules_in_the_working_folder_are_not_imported(
    tmp_path: Path, narrated: Narrated, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "apprise.py").write_text("raise SystemExit('imported')")
    (tmp_path / "json.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    with Webhook().running() as hook:
        fleet = told_fleet(tmp_path, {"beheer": f"json://127.0.0.1:{hook.port}/x"})
        Notifier(fleet, narrated).tell(NOTICE)
    assert narrated == []
    assert len(hook.seen) == 1
