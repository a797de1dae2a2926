"""What the two files say: how they are read for a request, and how an operator changes them."""
