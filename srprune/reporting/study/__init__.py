"""Reports of a study: tables in four formats, pictures, and what may be said of them."""
