"""Who asks: the client's address, and the paths that are exempt."""
