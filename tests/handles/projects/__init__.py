"""Projects whose settings are not ours: settings modules, and the program that walks a flow under them."""
