"""A shop whose visitors leave notes."""
