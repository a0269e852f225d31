"""`python -m owc_deploy`."""

from owc_deploy.cli.main import main

main()
