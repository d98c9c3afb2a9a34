"""``python -m gauntlet`` is the command ``gauntlet``."""

from gauntlet.cli import main

main()
