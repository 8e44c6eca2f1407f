"""The only rooms that touch the world: AWS, PostgreSQL, nftables, sockets, files."""
