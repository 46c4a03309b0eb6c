"""``python -m bayescale``: the command line."""

from bayescale.cli.main import main

if __name__ == "__main__":
    main()
