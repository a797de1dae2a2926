"""Why: explanations of one request, likely causes, and what would go wrong."""
