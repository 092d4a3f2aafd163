"""What runs inside the embedded hub's container: only the standard library and Debian's tools."""
