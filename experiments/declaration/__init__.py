"""What an experiment is: its file, checked, and the runs that follow from it."""
