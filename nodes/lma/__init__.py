"""The local mobility anchor (RFC 5213 section 5, RFC 7864)."""
