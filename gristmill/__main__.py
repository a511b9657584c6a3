"""`python -m gristmill`: the commands of `gristmill` without the console script."""

from gristmill.pipeline.cli import main

if __name__ == "__main__":
    main()
