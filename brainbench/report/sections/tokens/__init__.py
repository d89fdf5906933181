"""What a tokenizer learned."""
