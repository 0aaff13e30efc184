"""The tasks: word lists, prompt templates and the pairs built from them."""
