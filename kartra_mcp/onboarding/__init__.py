"""What a person needs before the first answer."""
