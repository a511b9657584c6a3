"""`python -m trainer`, also under torchrun."""

from gristmill.trainer.cli import main

if __name__ == "__main__":
    main()
