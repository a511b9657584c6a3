"""`python -m tokenizer`: the commands of `tokenizer.cli`."""

from gristmill.tokenizer.cli import main

if __name__ == "__main__":
    main()
