"""What late fusion is made of: unseen predictions, weights, combined predictions."""
