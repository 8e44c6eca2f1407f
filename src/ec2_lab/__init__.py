"""An EC2 region in miniature on one Linux machine."""
