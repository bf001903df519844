"""Files of others that are read by code of ours: what they hold, and nothing of what it is for."""
