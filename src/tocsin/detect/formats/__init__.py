"""Rule formats: files to `Rule`s."""
