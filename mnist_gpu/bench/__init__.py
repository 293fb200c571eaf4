"""The speed table: this project's engines beside the naive ways, in one run."""
