"""Django's place for commands; nothing here is imported without Django."""
