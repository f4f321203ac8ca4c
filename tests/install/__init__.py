"""What tests/test_install.py follows docs/install.md with."""
