"""What is done with a finished run's models: sampling from them, walking through their latent."""
