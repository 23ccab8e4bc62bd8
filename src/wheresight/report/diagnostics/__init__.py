"""Pictures of diagnostics, one file a diagnostic, and the page and table that show them all."""
