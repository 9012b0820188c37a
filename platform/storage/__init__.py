"""Where committed cycles lie: folders and object stores, and what a run leaves in them."""
