"""Wire formats of the signalling: one definition of each, from which everything else derives.

`layout` says how a format is described, `options`, `flow_options`, `traffic_selector` and
`messages` describe the formats, `compiler` makes the codec of a description, `json_form` its JSON
and `scapy_layers` its Scapy layer. Nothing here does input or output except `tool`.
"""
