"""`python -m lmaseg`."""

from lmaseg.cli import main

if __name__ == "__main__":
    main()
