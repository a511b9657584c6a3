"""`python -m pipeline`: the commands of `gristmill` without the console script, as for `ray job submit`."""

from gristmill.pipeline.cli import main

if __name__ == "__main__":
    main()
