"""An app with a user model unlike Django's: UUID keys, an e-mail for a name, no groups."""
