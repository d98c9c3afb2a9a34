"""Readers of the files in which data sets come, one file format each. None of them runs anything that a file holds."""
