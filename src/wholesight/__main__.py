"""`python -m wholesight`: the command line without its script."""

from wholesight.cli.main import run

if __name__ == "__main__":
    run()
