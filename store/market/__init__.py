"""What the market made of the settings: trades."""
