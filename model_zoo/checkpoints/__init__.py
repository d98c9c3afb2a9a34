"""Reading and writing checkpoint files. They come from strangers: nothing here ever runs code that a file holds."""
