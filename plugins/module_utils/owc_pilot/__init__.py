"""The controller's side of a transaction: it paces them, watches the site, and confirms."""
