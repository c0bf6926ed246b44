"""A board and a host that talk: frames over a UART or SPI, the device in hardware, the driver."""
