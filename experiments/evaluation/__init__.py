"""From the rows of many runs to intervals, numbers, tables and what a paper takes from them."""
