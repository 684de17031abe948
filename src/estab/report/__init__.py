"""The report page: facts, or the packets of a capture, as columns of numbers, and one page that draws them."""
