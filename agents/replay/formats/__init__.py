"""File rows to public events: pure, exact, one room for each kind of file."""
