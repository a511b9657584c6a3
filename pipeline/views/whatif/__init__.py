"""`gristmill whatif`: what other limits would keep, from the signals alone."""
