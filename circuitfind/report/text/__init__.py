"""Tables, graphs as text, notebook views and progress."""
