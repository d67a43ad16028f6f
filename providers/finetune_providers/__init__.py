"""What a fine-tuning provider is, and the providers themselves, one module each."""
