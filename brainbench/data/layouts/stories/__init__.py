"""Data sets of stories: words with their times, and recordings of people who heard them."""
