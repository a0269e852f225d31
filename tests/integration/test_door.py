"""The door to servers: one Ansible run that stays, on this machine over `connection: local`."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integration.bench import CANARY, Bench, Watcher, ends, run_folders, wait_for

from owc_deploy.errors import ExecutionError
from owc_deploy.execution.door import Answer, Channel, Door
from owc_deploy.execution.ports import Progress
from owc_deploy.resources import resource_folder

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    yield
    assert run_folders() == []


def door(bench: Bench, *names: str) -> Door:
    # Beside the bench's own module, where Ansible finds it.
    playbook = bench.folder / "door.yml"
    shutil.copy(resource_folder("playbooks") / "door.yml", playbook)
    return Door(bench.request(playbook, *(names or ("here",))))


def echo(limit_seconds: float = 30, **arguments: object) -> Callable[[Channel], Answer]:
    return lambda channel: channel.module("owc_echo", arguments, what="Echo", seconds=limit_seconds)


def test_one_run_answers_again_and_again_and_data_is_never_a_template(bench: Bench) -> None:
    value = {"title": "{{ 6 * 7 }}", "naam": "Súdwest-Fryslân", "list": [1, None, True]}
    with door(bench) as opened:
        for asked in (value, "{{ undefined }}", "0123456789abcdef" * 131_072):
            answer = opened.each({"here": echo(value=asked)}, None)["here"]
            assert (answer.status, answer.error) == ("ok", "")
            assert answer.result["observed"] == asked


def test_one_servers_failure_leaves_the_others_alone(bench: Bench) -> None:
    events: list[Progress] = []
    work = {
        "here": echo(value=1),
        "there": echo(fail="de schijf is vol"),
        "gone": echo(value=3),
    }
    with door(bench, "here", "there", "gone") as opened:
        answers = opened.each(work, events.append)
    assert {name: (answer.status, answer.began) for name, answer in answers.items()} == {
        "here": ("ok", False),
        "there": ("failed", True),
        "gone": ("unreachable", False),
    }
    assert answers["there"].error == "de schijf is vol"
    assert "refused" in answers["gone"].error
    assert Progress("here", "Echo", "started") in events
    assert Progress("here", "Echo", "ok") in events
    assert Progress("there", "Echo", "failed") in events
    assert Progress("gone", "Echo", "unreachable") in events


def test_too_long_is_said_and_the_door_closes(bench: Bench) -> None:
    sentinel = bench.folder / "sentinel"
    began = time.monotonic()
    with door(bench) as opened:
        work = {"here": echo(2, seconds=60, sentinel=str(sentinel))}
        answer = opened.each(work, None)["here"]
    assert (answer.status, answer.timed_out) == ("failed", True)
    assert answer.error == "not finished within 2 seconds"
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("fails", [False, True])
def test_a_secret_shows_up_nowhere(
    bench: Bench, fails: bool, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    events: list[Progress] = []
    watcher = Watcher()
    watcher.start()
    work = {"here": echo(secret=CANARY, seconds=1, fail="refused" if fails else "")}
    try:
        with door(bench) as opened:
            answer = opened.each(work, events.append)["here"]
    finally:
        watcher.stop()
    assert answer.status == ("failed" if fails else "ok")
    assert watcher.processes_seen > 0
    assert watcher.files_seen > 0
    assert watcher.found == set()
    output = capfd.readouterr()
    for text in (repr(answer), repr(events), caplog.text, output.out, output.err):
        assert CANARY not in text


@pytest.mark.parametrize("number", SIGNALS)
def test_the_operator_stops_it_and_every_process_of_it(
    bench: Bench, number: signal.Signals
) -> None:
    sentinel = bench.folder / "sentinel"
    handlers = [signal.getsignal(each) for each in SIGNALS]

    def stop() -> None:
        wait_for(sentinel)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=stop)
    thread.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), door(bench) as opened:
        opened.each({"here": echo(60, seconds=60, sentinel=str(sentinel))}, None)
    thread.join()
    assert time.monotonic() - began < 20
    assert ends(wait_for(sentinel))
    assert [signal.getsignal(each) for each in SIGNALS] == handlers


def test_what_ansible_cannot_read_is_an_error_with_its_words(bench: Bench) -> None:
    bench.inventory.write_text("web: [unclosed\n")
    with pytest.raises(ExecutionError) as caught, door(bench) as opened:
        opened.each({"here": echo()}, None)
    assert "servers.yml" in (caught.value.context or "")
