"""Everything that knows Redis: keys, encodings, the scripts, and the client that runs them."""
