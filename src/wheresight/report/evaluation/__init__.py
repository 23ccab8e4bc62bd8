"""What people see of an evaluation: the terminal's table, and the page."""
