"""Semi-structured regression on tables plus images."""
