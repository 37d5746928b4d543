"""`python -m posebus` is the `posebus` command."""

from posebus.cli import main

if __name__ == "__main__":
    main()
