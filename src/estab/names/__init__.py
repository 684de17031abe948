"""Names and addresses: DNS and the hosts file."""
