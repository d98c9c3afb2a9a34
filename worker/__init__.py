"""The workers: claim work from the store, run it in a child process, bring the result back; only children load torch."""
