"""The cocotb bench: what runs inside the simulator, and the process that starts it."""
