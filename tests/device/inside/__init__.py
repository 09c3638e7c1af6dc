"""What is tried on the pretend accelerator; collected only in a process of its own, see test_on_the_pretend_device."""
