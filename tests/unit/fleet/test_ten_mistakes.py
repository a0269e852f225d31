"""A manifest with ten mistakes gives ten problems in one run, each with its line."""

from __future__ import annotations

from pathlib import Path

from unit.fleet.fleet_folder import write_fleet

from owc_deploy.fleet.load import check_fleet

# The mistake on each line, and what the tool must say of it:
MISTAKES = [
    # line of the manifest                       reference           what to write instead
    ("schema_version: 1", "", ""),
    ("site: voorbeeld", "", ""),
    ("municipality:", "", ""),
    ("  name: Gemeente Voorbeeld", "", ""),
    ("  code: GM0344", "format", "gm0344"),
    ("enviroment: production", "unknown-key", "environment"),
    ("environment: productie", "not-allowed", "production"),
    ("url: http://www.voorbeeld.example", "format", "https://www.voorbeeld.example"),
    ("aliases: [voorbeeld.example]", "", ""),
    ("servers:", "", ""),
    ("  web: [web3]", "unknown-server", "web2"),
    ("  database: [web1]", "", ""),
    ("ring: canry", "unknown-ring", "canary"),
    ("php: 8.2", "", ""),
    ("wordpress: newest", "constraint", "one such as `^3.18`, `~2.10`, `>=2.10.1 <3` or `6.9.*`"),
    ("theme:", "", ""),
    ("  name: example-theme", "", ""),
    ("tls:", "tls-incomplete", "email: webbeheer@voorbeeld.example"),
    ("  policy: acme", "", ""),
    ("settings:", "", ""),
    ("  siteurl: https://x.example", "owned-option", "leave it out and write `url:`"),
    ("  timezone_string: Europe/Amsterdam", "", ""),
    ("  timezone_string: Europe/Brussels", "duplicate-key", "keep one of the two"),
]


def test_ten_mistakes_give_ten_problems_with_their_lines(tmp_path: Path) -> None:
    text = "".join(f"{line}\n" for line, _, _ in MISTAKES)
    root = write_fleet(tmp_path, {"sites/voorbeeld.yml": text})

    fleet, problems = check_fleet(root)

    expected = [
        (number, reference, suggestion)
        for number, (_, reference, suggestion) in enumerate(MISTAKES, start=1)
        if reference
    ]
    assert len(expected) == 10
    assert fleet is None
    assert [(p.line, p.reference, p.suggestion) for p in problems] == expected
    assert {str(p.file) for p in problems} == {"sites/voorbeeld.yml"}
    assert all(p.column > 0 for p in problems)
