"""An app whose flows the tests' workers find by name."""
