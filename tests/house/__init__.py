"""Tests of the repository as a whole: what may be called, imported, installed and typed at the prompt."""
