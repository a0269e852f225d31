"""What must hold between documents: one row per rule, and every problem of every file at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.fleet.fleet_folder import FLEET, MANIFEST, SERVERS, manifest, other_site, write_fleet

from owc_deploy.errors import DocumentsInvalidError, Problem, UsageError
from owc_deploy.fleet.load import check_fleet, load_fleet


def problems(root: Path, **files: str) -> tuple[Problem, ...]:
    write_fleet(root, {name.replace("__", "/"): text for name, text in files.items()})
    return check_fleet(root)[1]


# What the manifest says instead, the problem's reference, its place, words in the message, what to
# write instead.
ROWS = [
    (manifest(site="site: anders"), "site-name", "site", "voorbeeld.yml", "site: voorbeeld"),
    (manifest(ring="ring: everyon"), "unknown-ring", "ring", "not a ring", "everyone"),
    (manifest(ring="ring: zzz"), "unknown-ring", "ring", "", "one of: canary, everyone"),
    (
        MANIFEST.replace("web: [web1]", "web: [wbe2]"),
        "unknown-server",
        "servers.web[0]",
        "not a server",
        "web2",
    ),
    (
        MANIFEST.replace("web: [web1]", "web: [web1, web2]"),
        "several-web-servers",
        "servers.web",
        "one web server for now",
        "web: [web1]",
    ),
    (
        MANIFEST.replace("database: [web1]", "database: [web1, web2]"),
        "several-database-servers",
        "servers.database",
        "one database server",
        "database: [web1]",
    ),
    (
        MANIFEST.replace("database: [web1]", "database: [web2]"),
        "other-database-server",
        "servers.database",
        "on the web server itself",
        "database: [web1]",
    ),
    (manifest(php="php: ^^8"), "constraint", "php", "^^8", "one such as"),
    (manifest(wordpress="wordpress: dev-main"), "constraint", "wordpress", "branch", ""),
    (
        manifest(blocks="blocks: {cmb2: '>=2 foo'}"),
        "constraint",
        "blocks.cmb2",
        "not a version constraint",
        "",
    ),
    (
        manifest(blocks="blocks: {cmb2: {version: '~~1'}}"),
        "constraint",
        "blocks.cmb2.version",
        "",
        "",
    ),
    (
        manifest(blocks="blocks: {example-theme: '*'}"),
        "theme-as-block",
        "blocks.example-theme",
        "theme already",
        "leave it out",
    ),
    (
        manifest(settings="settings: {blogname: x}"),
        "owned-option",
        "settings.blogname",
        "`title`",
        "`title:`",
    ),
    (
        manifest(settings="settings: {_transient_x: 1}"),
        "internal-option",
        "settings._transient_x",
        "WordPress itself",
        "leave it out",
    ),
    (
        manifest(settings="settings: {a: 1}", blocks="blocks: {cmb2: {settings: {a: 2}}}"),
        "setting-twice",
        "blocks.cmb2.settings.a",
        "under `settings`",
        "keep one",
    ),
    (
        manifest(blocks="blocks: {b1: {settings: {a: 2}}, b2: {settings: {a: 2}}}"),
        "setting-twice",
        "blocks.b2.settings.a",
        "under `blocks.b1.settings`",
        "keep one",
    ),
    (
        manifest(aliases="aliases: [a.example, www.voorbeeld.example]"),
        "alias-is-url",
        "aliases[1]",
        "own address",
        "leave it out",
    ),
    (
        manifest(redirects="redirects: [{source: /a, target: /b}, {source: /a, target: /c}]"),
        "duplicate-redirect",
        "redirects[1].source",
        "`/a` is redirected twice",
        "",
    ),
    (
        manifest(redirects="redirects: [{source: /a, target: /a}]"),
        "redirect-loop",
        "redirects[0].target",
        "/a -> /a",
        "",
    ),
    (
        manifest(
            redirects="redirects: [{source: /x, target: /a}, {source: /a, target: /b}, "
            '{source: /b, target: "https://www.voorbeeld.example/a?q=1"}]'
        ),
        "redirect-loop",
        "redirects[1].target",
        "/a -> /b -> /a",
        "",
    ),
    (
        manifest(
            administrators="administrators: [{login: a, email: x@y.example}, "
            "{login: b, email: X@y.example}]"
        ),
        "duplicate-administrator",
        "administrators[1].email",
        "email",
        "",
    ),
    (manifest(tls="tls: {policy: acme}", **{"  policy": ""}), "tls-incomplete", "tls", "email", ""),
    (
        manifest(tls="tls: {policy: internal, email: a@b.example}", **{"  policy": ""}),
        "tls-surplus",
        "tls.email",
        "means nothing",
        "policy: acme",
    ),
]


@pytest.mark.parametrize(("text", "reference", "path", "message", "suggestion"), ROWS)
def test_a_rule_names_the_place_and_what_to_write(
    tmp_path: Path, text: str, reference: str, path: str, message: str, suggestion: str
) -> None:
    (problem,) = problems(tmp_path, **{"sites__voorbeeld.yml": text})
    assert (problem.reference, problem.path) == (reference, path)
    assert message in problem.message
    assert suggestion in problem.suggestion
    assert problem.line > 1
    assert problem.file == Path("sites/voorbeeld.yml")


@pytest.mark.parametrize(
    "redirects",
    [
        "[{source: /a, target: /b}, {source: /b, target: /c}]",
        '[{source: /a, target: "https://other.example/a"}]',
        "[{source: /café, target: /caf%C3%A9-nieuw}]",
    ],
)
def test_redirects_that_end_somewhere_are_fine(tmp_path: Path, redirects: str) -> None:
    text = manifest(redirects=f"redirects: {redirects}")
    assert problems(tmp_path, **{"sites__voorbeeld.yml": text}) == ()


@pytest.mark.parametrize(
    "source",
    [
        "a",
        "//a",
        "/a b",
        '/a"b',
        "/a'b",
        "/a$b",
        "/a{b",
        "/a;b",
        "/a\\\\b",
        "/a?b",
        "/a\\nb",
        "/a\\u2028",
    ],
)
def test_a_redirect_path_holds_nothing_that_means_something_to_a_server(
    tmp_path: Path, source: str
) -> None:
    quoted = source.replace('"', '\\"')
    text = manifest(redirects=f'redirects: [{{source: "{quoted}", target: /b}}]')
    (problem,) = problems(tmp_path, **{"sites__voorbeeld.yml": text})
    assert (problem.path, problem.reference) == ("redirects[0].source", "format")


@pytest.mark.parametrize(
    ("url", "suggestion"),
    [
        ("http://www.voorbeeld.example", "https://www.voorbeeld.example"),
        ("www.voorbeeld.example", "https://www.voorbeeld.example"),
        ("https://WWW.voorbeeld.example/", "https://www.voorbeeld.example"),
        ("https://www.voorbeeld.example:8443/x", "https://www.voorbeeld.example"),
        ("https://bûtenpost.example", "https://xn--btenpost-x5a.example"),
    ],
)
def test_an_address_is_repaired_in_the_suggestion(
    tmp_path: Path, url: str, suggestion: str
) -> None:
    text = manifest(url=f"url: {url}")
    (problem,) = problems(tmp_path, **{"sites__voorbeeld.yml": text})
    assert (problem.path, problem.suggestion.rstrip("/")) == ("url", suggestion)


def test_two_sites_do_not_share_a_domain(tmp_path: Path) -> None:
    second = other_site("anders").replace("ring:", "aliases: [www.voorbeeld.example]\nring:")
    (problem,) = problems(tmp_path, **{"sites__anders.yml": second})
    assert problem.reference == "duplicate-domain"
    assert str(problem.file) == "sites/voorbeeld.yml"
    assert "sites/anders.yml" in problem.message


def test_a_server_must_be_in_the_group_it_is_asked_for(tmp_path: Path) -> None:
    servers = "web: {hosts: {web1: }}\ndatabase: {hosts: {db1: }}\n"
    (problem,) = problems(tmp_path, **{"servers.yml": servers})
    assert (problem.reference, problem.path) == ("wrong-group", "servers.database[0]")


def test_what_is_of_the_wrong_kind_is_one_problem(tmp_path: Path) -> None:
    text = manifest(environment="environment: [production]")
    (problem,) = problems(tmp_path, **{"sites__voorbeeld.yml": text})
    assert (problem.reference, problem.line) == ("type", 5)


def test_a_missing_inventory_says_what_to_write(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    (tmp_path / "servers.yml").unlink()
    (problem,) = check_fleet(tmp_path)[1]
    assert (problem.reference, str(problem.file)) == ("missing-file", "servers.yml")
    assert "ansible_host" in problem.suggestion


def test_a_ring_is_listed_once(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, **{"fleet.yml": FLEET + "  - name: canary\n"})
    assert (problem.reference, problem.path, problem.line) == (
        "duplicate-ring",
        "rings[2].name",
        7,
    )


def test_a_lock_without_a_manifest_is_refused_with_the_remedy(tmp_path: Path) -> None:
    found = problems(tmp_path, **{"locks__weg.lock.yml": "schema_version: 1\n"})
    orphan = next(problem for problem in found if problem.reference == "orphan-lock")
    assert orphan.suggestion == "git rm locks/weg.lock.yml"
    assert "`site` is missing" in {problem.message for problem in found}


def test_a_file_with_another_ending_is_not_overlooked(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, **{"sites__anders.yaml": other_site("anders")})
    assert problem.reference == "file-name"
    assert problem.suggestion == "mv sites/anders.yaml sites/anders.yml"


def test_every_problem_of_every_file_is_reported_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        **{
            "fleet.yml": FLEET.replace("catalogue: catalogue\n", ""),
            "servers.yml": SERVERS + "all: {vars: {owc_php_version: ['8.2']}}\n",
            "sites__anders.yml": "site: [",
            "sites__voorbeeld.yml": manifest(ring="ring: nope"),
            "sites__leeg.yml": "",
        },
    )
    assert [(str(p.file), p.reference) for p in found] == [
        ("fleet.yml", "missing-key"),
        ("servers.yml", "unknown-variable"),
        ("sites/anders.yml", "yaml"),
        ("sites/leeg.yml", "empty"),
        ("sites/voorbeeld.yml", "unknown-ring"),
    ]
    with pytest.raises(DocumentsInvalidError) as caught:
        load_fleet(tmp_path)
    assert caught.value.problems == found


def test_a_fleet_without_sites_is_a_fleet(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    (tmp_path / "sites" / "voorbeeld.yml").unlink()
    assert load_fleet(tmp_path).manifests == {}


def test_a_folder_without_fleet_yml_is_no_fleet(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_fleet(tmp_path)
    assert "owc-deploy init" in str(caught.value.hint)
