from __future__ import annotations

from owc_agent import phplog

RELEASE = "/srv/owc/sites/a/releases/20261124T100000Z-aaaaaaaa/public/"
NEXT = RELEASE.replace("20261124T100000Z-aaaaaaaa", "20261124T110000Z-bbbbbbbb")
WARNING = "NOTICE: PHP message: PHP Warning:  Undefined variable $x in {}p.php on line {}"
FATAL = "PHP message: PHP Fatal error:  Uncaught Error: Call to undefined function y() in {}p.php:3"
OLD = "PHP message: PHP Deprecated:  Old in /srv/owc/sites/a/current/public/index.php on line 1"

BEFORE = [WARNING.format(RELEASE, 12), "a line of something else"]
AFTER = [WARNING.format(NEXT, 14), FATAL.format(NEXT), OLD]


def test_only_what_was_not_said_before_is_new() -> None:
    new = phplog.new_messages(BEFORE, AFTER)
    assert [(message.kind, message.is_fatal) for message in new] == [
        ("Fatal error", True),
        ("Deprecated", False),
    ]
    assert str(new[0]) == (
        "Fatal error: Uncaught Error: Call to undefined function y() in public/p.php"
    )


def test_what_php_keeps_saying_is_one_message() -> None:
    assert len(phplog.messages(AFTER * 3)) == 3
