"""What saved weights say: the layouts of the versions of `sru`, their description and their conversion."""
