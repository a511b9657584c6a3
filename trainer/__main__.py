"""`python -m trainer`, also under torchrun."""

from trainer.cli import main

if __name__ == "__main__":
    main()
