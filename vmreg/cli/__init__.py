"""The commands: thin tasks that parse, call and render."""
