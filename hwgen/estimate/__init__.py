"""What a streaming design costs before it is synthesised: LUTs, registers, memories, clock."""
