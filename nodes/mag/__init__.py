"""The mobile access gateway (RFC 5213 section 6, RFC 7864)."""
