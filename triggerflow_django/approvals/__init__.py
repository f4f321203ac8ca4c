"""Who may decide an interrupt, and how it is asked."""
