"""The book: notebooks, pages and the API as one static site; `site.build` makes it."""
