"""The command line: one thin file per verb; only this package prints or exits."""
