"""Jobs that must not run again on a database of before: they ran already, in the one that is left.

A mailing that was sent, or a case that was opened with another system, is not undone by going back
in data; running its job once more would do it twice. So what waits in the restored database and no
longer waits in the one that is left is held, and told of, so that a person can decide.
"""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple, Optional

from . import commands, database, losses, tables

ACTIONS_TABLE = "wp_actionscheduler_actions"
CRON = "cron"
IDS_AT_ONCE = 1000
# So many are told of in an outcome; the export has all of them.
TOLD = 200

# Values are edited by PHP itself, on what it has read: nothing else can write back unharmed what
# plugins put in there. Objects are never brought to life.
_READ = (
    "$a=[];foreach(json_decode(stream_get_contents(STDIN),true) as $h){"
    "$c=$h===null?[]:@unserialize(hex2bin($h),['allowed_classes'=>false]);"
    "if(!is_array($c)){$a[]=null;continue;}$e=[];"
    "foreach($c as $t=>$hooks){if(!is_int($t)||!is_array($hooks))continue;"
    "foreach($hooks as $n=>$keys){if(!is_array($keys))continue;"
    "foreach($keys as $k=>$v){if(!is_array($v))continue;"
    "$i=!empty($v['schedule'])&&is_numeric($v['interval']??0)?(int)($v['interval']??0):0;"
    "$e[]=[$t,bin2hex((string)$n),bin2hex((string)$k),max(0,$i)];}}}$a[]=$e;}"
    "echo json_encode($a);"
)
_WRITE = (
    "$r=json_decode(stream_get_contents(STDIN),true);"
    "$c=unserialize(hex2bin($r['cron']),['allowed_classes'=>false]);"
    "foreach($r['changes'] as [$t,$n,$k,$to]){$n=hex2bin($n);$k=hex2bin($k);"
    "if(!isset($c[$t][$n][$k]))continue;$v=$c[$t][$n][$k];unset($c[$t][$n][$k]);"
    "if(!$c[$t][$n])unset($c[$t][$n]);if(!$c[$t])unset($c[$t]);"
    "if($to!==null)$c[$to][$n][$k]=$v;}"
    "$w=$c['version']??null;unset($c['version']);ksort($c);if($w!==null)$c['version']=$w;"
    "echo bin2hex(serialize($c));"
)

_PUT_BACK = (
    "[$b,$c]=array_map(function($h){return unserialize(hex2bin($h),['allowed_classes'=>false]);},"
    "json_decode(stream_get_contents(STDIN),true));"
    "$had=[];foreach($c as $hooks)if(is_array($hooks))$had+=$hooks;"
    "foreach($b as $t=>$hooks){if(!is_int($t)||!is_array($hooks))continue;"
    "foreach($hooks as $n=>$keys){if(isset($had[$n])||!is_array($keys))continue;"
    "foreach($keys as $k=>$v)if(is_array($v)&&!empty($v['schedule']))$c[$t][$n][$k]=$v;}}"
    "$w=$c['version']??null;unset($c['version']);ksort($c);if($w!==null)$c['version']=$w;"
    "echo bin2hex(serialize($c));"
)


class Event(NamedTuple):
    """An event of WP-cron: when it is due, its hook and the key of its arguments, in hexadecimal.

    `interval_seconds` is 0 for an event that comes once.
    """

    at: int
    hook: str
    key: str
    interval_seconds: int


class Change(NamedTuple):
    """What is done to an event: moved `to` another time, or taken away (`None`)."""

    event: Event
    to: "Optional[int]"


class Seen(NamedTuple):
    """The jobs that a restored database came with: those of visitors since are not ours to hold."""

    last_action: int
    events: "frozenset[tuple[int, str, str]]"


def hold(
    left_database: str, kept_database: str, only: "Optional[Seen]" = None
) -> "tuple[list[dict[str, Any]], Seen]":
    """Hold the jobs in `kept_database` that ran in `left_database`.

    Returns what was done to each, and what to look at `only` when this is done once more after the
    restored database has become the site's: for what ran at the very last moment.
    """
    actions, last_action = hold_actions(left_database, kept_database, only)
    events, waiting = hold_events(left_database, kept_database, int(time.time()), only)
    return actions + events, Seen(last_action, waiting)


def hold_actions(
    left_database: str, kept_database: str, only: "Optional[Seen]"
) -> "tuple[list[dict[str, Any]], int]":
    """Cancel the actions of Action Scheduler that wait in one database and no more in the other.

    One that comes again and again is moved to when it is due next in the database that is left, as
    cancelling it would end it for good. Also returns the highest number of an action.
    """
    left = tables.read_one(left_database, ACTIONS_TABLE)
    kept = tables.read_one(kept_database, ACTIONS_TABLE)
    if not all(table and table.has("action_id", "hook", "status") for table in (left, kept)):
        return [], 0
    table = tables.qualified(kept_database, ACTIONS_TABLE)
    last = only.last_action if only else _last_action(table)
    known = {
        column.name
        for column in kept.columns  # type: ignore[union-attr]
        if left.has(column.name)  # type: ignore[union-attr]
    }
    statement = actions_query(left_database, kept_database, known, last)
    held, canceled, moved = [], [], []
    for row in database.stream_rows(losses.session() + statement, losses.STATEMENT_SECONDS * 2):
        action_id, due, following = int(row[0]), database.unhex(row[2]), database.unhex(row[4])
        if following == due:
            continue
        told = {
            "kind": "action-scheduler",
            "id": action_id,
            "hook": losses.shown(database.unhex(row[1])),
            "at": due,
            "was": losses.shown(database.unhex(row[3])) or "gone",
            "done": "moved" if following else "canceled",
        }
        if following:
            moved.append((action_id, following))
            told["to"] = following
        else:
            canceled.append(action_id)
        held.append(told)
    statements = [
        "UPDATE %s SET status='canceled' WHERE status='pending' AND action_id IN (%s)"
        % (table, ",".join(map(str, canceled[start : start + IDS_AT_ONCE])))
        for start in range(0, len(canceled), IDS_AT_ONCE)
    ]
    local = "scheduled_date_local" in known
    statements += [_move(table, action_id, due, local=local) for action_id, due in moved]
    if statements:
        database.execute("START TRANSACTION;%s;COMMIT" % ";".join(statements), timeout_seconds=300)
    return held, last


def _last_action(table: str) -> int:
    return int(database.execute("SELECT COALESCE(MAX(action_id), 0) FROM %s" % table)[0][0])


def actions_query(left_database: str, kept_database: str, known: "set[str]", last: int) -> str:
    """Return the query for actions to hold: id, hook, due, how it is now, due next; pure.

    `known` are the columns that both have, `last` the highest number of an action to look at. An
    action that is not there at all any more was cleaned up after it ran, unless the database that
    is left never came as far as its number.
    """
    left, kept = (tables.qualified(name, ACTIONS_TABLE) for name in (left_database, kept_database))
    due = "k.scheduled_date_gmt" if "scheduled_date_gmt" in known else "''"
    following = "NULL"
    if {"scheduled_date_gmt", "schedule"} <= known:
        same = [
            "n.%s <=> k.%s" % (name, name)
            for name in ("hook", "args", "extended_args", "group_id")
            if name in known
        ]
        following = (
            "IF(k.schedule REGEXP '(Interval|Cron)Schedule\"', (SELECT MIN(n.scheduled_date_gmt)"
            " FROM %s AS n WHERE n.status='pending' AND %s), NULL)" % (left, " AND ".join(same))
        )
    return (
        "SELECT k.action_id, HEX(k.hook), HEX(COALESCE({due}, '')), HEX(COALESCE(l.status, '')),"
        " HEX(COALESCE({following}, '')) FROM {kept} AS k LEFT JOIN {left} AS l"
        " ON l.action_id = k.action_id AND l.hook = k.hook WHERE k.status='pending' AND"
        " COALESCE(l.status, '') <> 'pending' AND k.action_id <= {last} AND"
        " k.action_id <= (SELECT COALESCE(MAX(action_id), 0) FROM {left})"
        " ORDER BY k.action_id".format(
            due=due, following=following, kept=kept, left=left, last=last
        )
    )


def _move(table: str, action_id: int, due: str, *, local: bool) -> str:
    # The text came from a date of this server; in hexadecimal it cannot be anything else.
    to = "CONVERT(X'%s' USING utf8mb4)" % due.encode().hex()
    also = (
        "scheduled_date_local = TIMESTAMPADD(SECOND, TIMESTAMPDIFF(SECOND, scheduled_date_gmt,"
        " scheduled_date_local), %s), " % to
    )
    return "UPDATE %s SET %sscheduled_date_gmt = %s WHERE status='pending' AND action_id=%d" % (
        table,
        also if local else "",
        to,
        action_id,
    )


def hold_events(
    left_database: str, kept_database: str, now: int, only: "Optional[Seen]"
) -> "tuple[list[dict[str, Any]], frozenset[tuple[int, str, str]]]":
    """Take away or move the events of WP-cron that ran; see `changes`. Also return the others."""
    values = [_cron(name) for name in (left_database, kept_database)]
    if not values[1]:
        return [], frozenset()
    left, kept = (
        None if events is None else [Event(*event) for event in events]
        for events in _php(_READ, values)
    )
    if only is not None:
        kept = [event for event in kept or [] if event[:3] in only.events]
    if not kept:
        return [], frozenset()
    # Of what cannot be read nothing waits: better to hold too much than to send something twice.
    changed = changes(left or [], kept, now)
    if changed:
        request = {
            "cron": values[1],
            "changes": [[*change.event[:3], change.to] for change in changed],
        }
        database.write_options(kept_database, {CRON: _php(_WRITE, request, text=True)})
    gone = {change.event for change in changed}
    return [_told(change) for change in changed], frozenset(
        event[:3] for event in kept if event not in gone
    )


def changes(left: "list[Event]", kept: "list[Event]", now: int) -> "list[Change]":
    """Return what to do to the events of the restored database; pure.

    An event that comes once and does not wait any more has run: it goes, or, where it was planned
    anew, moves to when that is. One that comes again and again gets its next time in the future.
    """
    waiting = {event[:3] for event in left}
    planned: "dict[tuple[str, str], int]" = {}
    for event in sorted(left):
        planned.setdefault((event.hook, event.key), event.at)
    found = []
    for event in kept:
        again = planned.get((event.hook, event.key))
        if event.interval_seconds:
            if event.at <= now:
                later = again if again is not None and again > now else _next(event, now)
                found.append(Change(event, later))
        elif event[:3] not in waiting:
            found.append(Change(event, again))
    return found


def _next(event: Event, now: int) -> int:
    missed = (now - event.at) // event.interval_seconds
    return event.at + (missed + 1) * event.interval_seconds


def _told(change: Change) -> "dict[str, Any]":
    told: "dict[str, Any]" = {
        "kind": CRON,
        "hook": losses.shown(bytes.fromhex(change.event.hook).decode("utf-8", "replace")),
        "at": _iso(change.event.at),
        "was": _was(change),
        "done": "removed" if change.to is None else "moved",
    }
    if change.to is not None:
        told["to"] = _iso(change.to)
    return told


def _was(change: Change) -> str:
    if change.event.interval_seconds:
        return "recurring"
    return "gone" if change.to is None else "planned anew"


def _iso(at: int) -> str:
    try:
        return losses.iso(at)
    except (ValueError, OverflowError, OSError):
        return str(at)


def put_back_events(database_name: str, before: str) -> None:
    """Plan again what recurs in a `cron` option of before (hexadecimal) and is not planned now.

    What comes once may have run in between, and stays away.
    """
    now = _cron(database_name)
    if now is not None and now != before:
        merged = _php(_PUT_BACK, [before, now], text=True)
        if merged != now:
            database.write_options(database_name, {CRON: merged})


def _cron(database_name: str) -> "Optional[str]":
    if tables.read_one(database_name, database.OPTIONS_TABLE) is None:
        return None
    return database.read_options(database_name, [CRON])[CRON]


def _php(script: str, request: Any, *, text: bool = False) -> Any:
    result = commands.run(
        ["php", "-n", "-r", script],
        stdin=json.dumps(request).encode(),
        timeout_seconds=database.DECODE_TIMEOUT_SECONDS,
        user="www-data",
    )
    if text:
        return result.stdout.decode("ascii", "replace")
    try:
        return json.loads(result.stdout)
    except (ValueError, RecursionError) as error:
        raise commands.CommandError("the scheduled events cannot be read: %s" % error) from None
