"""The mobile node's side: logical interface, attachment, flow table (RFC 7847)."""
