"""`python -m topomae` is the command `topomae`."""

from topomae.cli import main

main()
