"""What is there on the server: everything of every site, and whether visitors are served."""

from __future__ import annotations

# Run on the server: everything of every site that has to be as it was, or as it was to become.
LOOK = r"""
import glob, json, os, subprocess
QUESTIONS = {
    "entries": "SELECT * FROM wp_lab_fault_entries ORDER BY id",
    "table": "SHOW CREATE TABLE wp_lab_fault_entries",
    "tables": "SHOW TABLES",
    "plugins": "SELECT option_value FROM wp_options WHERE option_name = 'active_plugins'",
    "options": "SELECT option_name, MD5(option_value) FROM wp_options WHERE option_name NOT IN"
    " ('cron', 'lab_fault_ticked_at', 'lab_news_fetched_at', 'https_detection_errors',"
    " 'recovery_keys', 'finished_updating_comment_type')"
    " AND option_name NOT LIKE '%transient%' ORDER BY option_name",
    "cron event": "SELECT option_value LIKE '%lab_fault_tick%' FROM wp_options"
    " WHERE option_name = 'cron'",
    "content": "SELECT 'posts', COUNT(*), MAX(ID) FROM wp_posts"
    " UNION SELECT 'users', COUNT(*), MAX(ID) FROM wp_users",
}
def sql(database, text):
    asked = ["mariadb", "--skip-column-names", "--batch", "--force", database]
    done = subprocess.run(asked, input=text, capture_output=True, text=True)
    return done.stdout.splitlines()
def answers(database):
    found = {}
    asked = "".join("SELECT '-- %s';%s;" % item for item in QUESTIONS.items())
    for line in sql(database, asked):
        if line.startswith("-- "):
            rows = found[line[3:]] = []
        else:
            rows.append(line)
    return found
def names(folder):
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
def lines(path):
    return [line for line in open(path).read().split("\n") if line.strip()]
def finish(folder):
    closed = [p for p in glob.glob(folder + "/*.jsonl") if not p.endswith("/transaction.jsonl")]
    newest = max(closed, key=os.path.getmtime) if closed else ""
    return json.loads(lines(newest)[-1]).get("finish", {}) if newest else {}
sites = {}
for site in names("/srv/owc/sites"):
    root = "/srv/owc/sites/" + site
    link, folder = root + "/current", root + "/journal"
    units = ["owc-php-fpm@%s.service" % site, "owc-cron@%s.timer" % site]
    said = subprocess.run(["systemctl", "is-active", *units], capture_output=True, text=True).stdout
    sites[site] = {
        "state": {
            "current": os.path.basename(os.readlink(link)) if os.path.islink(link) else "",
            "releases": names(root + "/releases"),
            "snapshots": [n for n in names(root + "/snapshots") if not n.startswith("interrupted")],
            "activations": lines(root + "/activations.jsonl"),
            **answers("owc_" + site.replace("-", "_")),
        },
        "rest": {
            "open journal": os.path.exists(folder + "/transaction.jsonl"),
            "reserve": os.path.exists(folder + "/reserve"),
            "frozen": os.path.exists(root + "/frozen.json"),
            "asked of it": [
                n
                for n in names("/run/owc-deploy/" + site)
                if "outcome" not in n and n != "fence.lock"
            ],
            "units that do not run": [u for u, s in zip(units, said.split()) if s != "active"],
            "partial": glob.glob(root + "/*.partial") + glob.glob(root + "/*/*.partial"),
        },
        "finish": finish(folder),
    }
print(json.dumps({
    "sites": sites,
    "databases": sql("", "SHOW DATABASES LIKE 'owcrestore%'; SHOW DATABASES LIKE 'owcaside%'"),
}))
"""

# Run on the server: asks one site after the other for its front page, and notes what went wrong.
WATCH = r"""
import http.client, itertools, json, socket, ssl, sys, time
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with open("/run/owc-fault-watch.jsonl", "w", buffering=1) as log:
    for site in itertools.cycle(sys.argv[1:]):
        domain, at = "www.%s.example" % site, time.time()
        try:
            connection = http.client.HTTPSConnection(domain, timeout=30, context=context)
            plain = socket.create_connection(("127.0.0.1", 443), 30)
            connection.sock = context.wrap_socket(plain, server_hostname=domain)
            connection.request("GET", "/")
            answer = connection.getresponse()
            body = answer.read().decode("utf-8", "replace")
            good = answer.status == 200 and "lab-fault" in body
            said = "" if good else "%d %s" % (answer.status, body[-200:])
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            said = repr(error)
        log.write(json.dumps([at, site, said]) + "\n")
        time.sleep(0.4)
"""
