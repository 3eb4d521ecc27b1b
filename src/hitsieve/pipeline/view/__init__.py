"""The facts that pages show, as plain functions; nothing here knows of the web."""
