"""Internet layer: interfaces, routes, neighbours, paths, fragments, and sending packets."""
