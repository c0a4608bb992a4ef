"""The command line. Each command is a module; what is heavy is imported when the command runs, so that `--help` answers at once."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Entry point of `tocsin`. Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 some input was unreadable (scan), 130 interrupted."""
    from tocsin.base import log
    from tocsin.base.errors import ConfigError, KqlError, TocsinError, UsageError
    from tocsin.cli.app import app
    from tocsin.cli.output import say

    log.configure("silent")  # commands say what is wrong in their own output; the server raises the level
    try:
        app()
    except (UsageError, ConfigError) as error:
        say(f"tocsin: {error}", error=True)
        raise SystemExit(2) from None
    except KqlError as error:
        render = getattr(error, "render", None)  # every finding with its line and a caret
        say(render() if render else f"tocsin: {error}", error=True)
        raise SystemExit(1) from None
    except TocsinError as error:
        say(f"tocsin: {error}", error=True)
        raise SystemExit(1) from None
    except SystemExit as ended:
        if ended.code == 130:  # typer has made this of Ctrl-C, without a word
            print("tocsin: interrupted", file=sys.stderr)
        raise
    except KeyboardInterrupt:
        print("tocsin: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        sys.stderr.close()
        raise SystemExit(0) from None
