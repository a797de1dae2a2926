"""What the shop keeps."""

from django.db import models


class Note(models.Model):  # type: ignore[misc] # Django carries no types
    """A line that a visitor has left."""

    text = models.TextField()

    def __str__(self) -> str:
        """Return the line."""
        return str(self.text)
