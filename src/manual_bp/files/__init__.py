"""Files: read as untrusted, written whole or not at all."""
