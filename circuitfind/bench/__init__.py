"""How well search does where the true circuit is known."""
