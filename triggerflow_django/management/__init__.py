"""What an operator runs at a shell."""
