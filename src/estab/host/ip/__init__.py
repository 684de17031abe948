"""Internet layer: interfaces, routes, neighbours, paths, fragments, and the way out."""
