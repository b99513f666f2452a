"""What sandboxes have besides what they run: images and volumes, GPUs, what they leave behind."""
