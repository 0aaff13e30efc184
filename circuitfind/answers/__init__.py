"""Answers: what counts as the behaviour, one file a kind."""
