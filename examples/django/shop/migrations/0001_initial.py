"""The table of the notes."""

from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc] # Django carries no types
    """Makes the table."""

    operations = (
        migrations.CreateModel(
            name="Note",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("text", models.TextField()),
            ],
        ),
    )
