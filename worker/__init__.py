"""The workers: claim work, run it in a child process, bring the result back; only children load torch."""
