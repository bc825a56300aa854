"""Labels to rays, and volumes to pixels along them."""
