"""What is seen: pictures, and clips whose frames are read a few at a time."""
