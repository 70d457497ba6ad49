"""Everything that knows Redis: keys, encodings, the two scripts, and the client that runs them."""
