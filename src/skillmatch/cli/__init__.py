"""The command line: commands parse, call and return a result; one place renders it.

::

    run         the application: global options, and one run of it
    session     one run: workspace, settings, language, and where everything it says goes
    options     the options that commands share
    complete    what the shell offers when tab is pressed
    questions   suggest, batch, explain        learning   train, evaluate, models
    lab         init, check                    people     profiles, feedback
    concepts    skills                         doctor     doctor
    plans       team, gaps                     assigning  batch --assign, and what team shares with it
    failures    errors, told in one place      words      messages in the reader's language

``skillmatch --help`` imports typer and nothing heavy: every command imports what it needs when it is called.
"""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line on ``sys.argv`` and leave with its exit code."""
    try:
        from .run import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while the imports were still going on
        code = 130
    if code == 130:
        # Python ends with the signal instead of the code where the interrupt came inside exec(), which
        # every dataclass uses; and it would wait for threads that are still computing.
        os._exit(code)
    sys.exit(code)
