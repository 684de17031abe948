"""The receiving half: order, window, when to acknowledge, how the receive buffer grows."""
