"""A passive open: the two queues of a listener, SYN cookies, and the connections made from them."""
