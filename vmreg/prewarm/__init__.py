"""Fill the cache before anybody needs it: which images, and fetching them through the edge."""
