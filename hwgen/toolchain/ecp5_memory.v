// Behaviour of the ECP5 block RAM DP16KD, of which Yosys ships only the ports: 1024 words of 18
// bits, ports of 1, 2, 4, 9 or 18 bits, or one port to write and one to read of 36, as Yosys maps
// memories to it. Both ports have one clock edge, no output register and no address decoder.

module DP16KD (
  input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4,
    DIA3, DIA2, DIA1, DIA0,
  input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
  input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
  output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4,
    DOA3, DOA2, DOA1, DOA0,
  input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
    DIB3, DIB2, DIB1, DIB0,
  input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
  input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
  output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4,
    DOB3, DOB2, DOB1, DOB0
);
  parameter DATA_WIDTH_A = 18;
  parameter DATA_WIDTH_B = 18;
  parameter WRITEMODE_A = "NORMAL";
  parameter WRITEMODE_B = "NORMAL";
  parameter REGMODE_A = "NOREG";
  parameter REGMODE_B = "NOREG";
  parameter RESETMODE = "SYNC";
  parameter ASYNC_RESET_RELEASE = "SYNC";
  parameter CSDECODE_A = "0b000";
  parameter CSDECODE_B = "0b000";
  parameter CLKAMUX = "CLKA";
  parameter CLKBMUX = "CLKB";
  parameter GSR = "ENABLED";
  parameter INIT_DATA = "STATIC";
  parameter INITVAL_00 = 320'h0;
  parameter INITVAL_01 = 320'h0;
  parameter INITVAL_02 = 320'h0;
  parameter INITVAL_03 = 320'h0;
  parameter INITVAL_04 = 320'h0;
  parameter INITVAL_05 = 320'h0;
  parameter INITVAL_06 = 320'h0;
  parameter INITVAL_07 = 320'h0;
  parameter INITVAL_08 = 320'h0;
  parameter INITVAL_09 = 320'h0;
  parameter INITVAL_0A = 320'h0;
  parameter INITVAL_0B = 320'h0;
  parameter INITVAL_0C = 320'h0;
  parameter INITVAL_0D = 320'h0;
  parameter INITVAL_0E = 320'h0;
  parameter INITVAL_0F = 320'h0;
  parameter INITVAL_10 = 320'h0;
  parameter INITVAL_11 = 320'h0;
  parameter INITVAL_12 = 320'h0;
  parameter INITVAL_13 = 320'h0;
  parameter INITVAL_14 = 320'h0;
  parameter INITVAL_15 = 320'h0;
  parameter INITVAL_16 = 320'h0;
  parameter INITVAL_17 = 320'h0;
  parameter INITVAL_18 = 320'h0;
  parameter INITVAL_19 = 320'h0;
  parameter INITVAL_1A = 320'h0;
  parameter INITVAL_1B = 320'h0;
  parameter INITVAL_1C = 320'h0;
  parameter INITVAL_1D = 320'h0;
  parameter INITVAL_1E = 320'h0;
  parameter INITVAL_1F = 320'h0;
  parameter INITVAL_20 = 320'h0;
  parameter INITVAL_21 = 320'h0;
  parameter INITVAL_22 = 320'h0;
  parameter INITVAL_23 = 320'h0;
  parameter INITVAL_24 = 320'h0;
  parameter INITVAL_25 = 320'h0;
  parameter INITVAL_26 = 320'h0;
  parameter INITVAL_27 = 320'h0;
  parameter INITVAL_28 = 320'h0;
  parameter INITVAL_29 = 320'h0;
  parameter INITVAL_2A = 320'h0;
  parameter INITVAL_2B = 320'h0;
  parameter INITVAL_2C = 320'h0;
  parameter INITVAL_2D = 320'h0;
  parameter INITVAL_2E = 320'h0;
  parameter INITVAL_2F = 320'h0;
  parameter INITVAL_30 = 320'h0;
  parameter INITVAL_31 = 320'h0;
  parameter INITVAL_32 = 320'h0;
  parameter INITVAL_33 = 320'h0;
  parameter INITVAL_34 = 320'h0;
  parameter INITVAL_35 = 320'h0;
  parameter INITVAL_36 = 320'h0;
  parameter INITVAL_37 = 320'h0;
  parameter INITVAL_38 = 320'h0;
  parameter INITVAL_39 = 320'h0;
  parameter INITVAL_3A = 320'h0;
  parameter INITVAL_3B = 320'h0;
  parameter INITVAL_3C = 320'h0;
  parameter INITVAL_3D = 320'h0;
  parameter INITVAL_3E = 320'h0;
  parameter INITVAL_3F = 320'h0;

  // 16 words of 20 bits in each parameter, of which 18 are used
  localparam [64*320-1:0] INIT = {
    INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38,
    INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30,
    INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
    INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20,
    INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18,
    INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
    INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
    INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00
  };
  reg [17:0] memory [0:1023];
  integer i;
  initial
    for (i = 0; i < 1024; i = i + 1) memory[i] = INIT[i*20 +: 18];

  wire [13:0] ADA = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2,
    ADA1, ADA0};
  wire [17:0] DIA = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6,
    DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
  reg [17:0] DOA = 0;
  assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
    DOA4, DOA3, DOA2, DOA1, DOA0} = DOA;
  wire [13:0] ADB = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2,
    ADB1, ADB0};
  wire [17:0] DIB = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6,
    DIB5, DIB4, DIB3, DIB2, DIB1, DIB0};
  reg [17:0] DOB = 0;
  assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
    DOB4, DOB3, DOB2, DOB1, DOB0} = DOB;

  // port A: where its bits lie in a word, and which of them are written
  wire [4:0] atA =
      DATA_WIDTH_A == 9 ? 9*ADA[3] :
      DATA_WIDTH_A == 4 ? 9*ADA[3] + 4*ADA[2] :
      DATA_WIDTH_A == 2 ? 9*ADA[3] + 2*ADA[2:1] :
      DATA_WIDTH_A == 1 ? 9*ADA[3] + ADA[2:0] : 0;
  wire [17:0] maskA =
      DATA_WIDTH_A >= 18 ? {{9{ADA[1]}}, {9{ADA[0]}}} : ((1 << DATA_WIDTH_A) - 1) << atA;
  wire [17:0] dataA = DATA_WIDTH_A >= 18 ? DIA : DIA << atA;
  wire [9:0] wordA = DATA_WIDTH_A == 36 ? {ADA[13:5], 1'b0} : ADA[13:4];
  wire [17:0] oldA = memory[wordA];
  wire [17:0] newA = (oldA & ~maskA) | (dataA & maskA);
  wire writeA = CEA && WEA && !RSTA;
  integer kA;
  always @(posedge CLKA)
    if (writeA)
      for (kA = 0; kA < 18; kA = kA + 1)
        if (maskA[kA]) memory[wordA][kA] <= dataA[kA];
  // port B: where its bits lie in a word, and which of them are written
  wire [4:0] atB =
      DATA_WIDTH_B == 9 ? 9*ADB[3] :
      DATA_WIDTH_B == 4 ? 9*ADB[3] + 4*ADB[2] :
      DATA_WIDTH_B == 2 ? 9*ADB[3] + 2*ADB[2:1] :
      DATA_WIDTH_B == 1 ? 9*ADB[3] + ADB[2:0] : 0;
  wire [17:0] maskB =
      DATA_WIDTH_B >= 18 ? {{9{ADB[1]}}, {9{ADB[0]}}} : ((1 << DATA_WIDTH_B) - 1) << atB;
  wire [17:0] dataB = DATA_WIDTH_B >= 18 ? DIB : DIB << atB;
  wire [9:0] wordB = DATA_WIDTH_B == 36 ? {ADB[13:5], 1'b0} : ADB[13:4];
  wire [17:0] oldB = memory[wordB];
  wire [17:0] newB = (oldB & ~maskB) | (dataB & maskB);
  wire writeB = CEB && WEB && !RSTB;
  integer kB;
  always @(posedge CLKB)
    if (writeB)
      for (kB = 0; kB < 18; kB = kB + 1)
        if (maskB[kB]) memory[wordB][kB] <= dataB[kB];

  generate
    if (DATA_WIDTH_A == 36) begin
      // the other 18 bits of a word of 36 come in through the data of port B
      integer k;
      always @(posedge CLKA)
        if (writeA)
          for (k = 0; k < 18; k = k + 1)
            if (ADA[2 + k/9]) memory[{ADA[13:5], 1'b1}][k] <= DIB[k];
    end
    if (DATA_WIDTH_A != 36 && DATA_WIDTH_B != 36) begin
      always @(posedge CLKA)
        if (RSTA) DOA <= 0;
        else if (CEA && !(WEA && WRITEMODE_A == "NORMAL"))
          DOA <= (WEA && WRITEMODE_A == "WRITETHROUGH" ? newA : oldA) >> atA;
    end
    if (DATA_WIDTH_B == 36) begin
      // and a word of 36 leaves through the outputs of both
      always @(posedge CLKB)
        if (RSTB) {DOB, DOA} <= 0;
        else if (CEB) {DOB, DOA} <= {memory[{ADB[13:5], 1'b1}], oldB};
    end else begin
      always @(posedge CLKB)
        if (RSTB) DOB <= 0;
        else if (CEB && !(WEB && WRITEMODE_B == "NORMAL"))
          DOB <= (WEB && WRITEMODE_B == "WRITETHROUGH" ? newB : oldB) >> atB;
    end
  endgenerate
endmodule
