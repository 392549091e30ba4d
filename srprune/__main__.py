"""``python -m srprune`` is the command ``srprune``."""

from srprune.cli.main import main

if __name__ == "__main__":
    main()
