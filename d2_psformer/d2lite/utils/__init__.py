"""Communication, events, files, logging, registries."""
