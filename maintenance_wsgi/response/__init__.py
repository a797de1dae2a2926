"""What is answered: the 503, and the headers of an answer to an exempt client."""
