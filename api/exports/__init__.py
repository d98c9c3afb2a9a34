"""A leaderboard as other programs and papers take it: one format a file."""
