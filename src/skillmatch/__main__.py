"""``python -m skillmatch`` and the ``skillmatch`` command."""


def run() -> None:
    """Start the command line."""
    from .cli import main

    main()


if __name__ == "__main__":
    run()
