"""`python -m wheresight` is the command `wheresight`."""

from wheresight.cli.main import run

run()
