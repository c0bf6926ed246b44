"""Carry chains of ECP5 without the cells that nextpnr adds at their ends.

nextpnr leads every carry into a chain, a constant too, and every carry out of it, even one that
nothing reads, through a CCU2C of its own: four LUTs a chain. So here a chain of odd width begins
with the half of a cell that it leaves over, which makes the constant carry; chains that begin with
constants do the same; and the last cell of a chain leaves its carry open.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ECP5_CARRIES", "CarryMaps"]


@dataclass(frozen=True)
class CarryMaps:
    """How Yosys maps carry chains.

    ``sums`` is a technology map of ``$alu`` before that of the family. After the synthesis the
    commands ``close`` give the last cells of chains a type of their own, and the map ``ends``
    rewrites the ``cells``.
    """

    sums: str
    close: tuple[str, ...]
    ends: str
    cells: tuple[str, ...]


_SUMS = r"""
// A sum of odd width: half a cell that makes the constant carry, then the bits.
(* techmap_celltype = "$alu" *)
module odd_alu (A, B, CI, BI, X, Y, CO);
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 1;
  parameter B_WIDTH = 1;
  parameter Y_WIDTH = 1;
  parameter _TECHMAP_CONSTMSK_CI_ = 0;
  (* force_downto *) input [A_WIDTH-1:0] A;
  (* force_downto *) input [B_WIDTH-1:0] B;
  input CI, BI;
  (* force_downto *) output [Y_WIDTH-1:0] X, Y, CO;

  // sums of few bits are better off in LUTs, as Yosys builds them
  wire _TECHMAP_FAIL_ = Y_WIDTH <= 4 || Y_WIDTH % 2 == 0 || !_TECHMAP_CONSTMSK_CI_;

  (* force_downto *) wire [Y_WIDTH-1:0] a, b;
  \$pos #(.A_SIGNED(A_SIGNED), .A_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH)) extend_a (.A(A), .Y(a));
  \$pos #(.A_SIGNED(B_SIGNED), .A_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH)) extend_b (.A(B), .Y(b));
  (* force_downto *) wire [Y_WIDTH-1:0] operand = b ^ {Y_WIDTH{BI}};
  assign X = a ^ operand;

  (* force_downto *) wire [Y_WIDTH:0] first = {a, CI}, second = {b, CI}, sum;
  assign Y = sum[Y_WIDTH:1];
  (* force_downto *) wire [(Y_WIDTH+1)/2:0] carry;
  assign carry[0] = CI;
  genvar i;
  generate for (i = 0; i < (Y_WIDTH + 1) / 2; i = i + 1) begin:cell
    CCU2C #(.INIT0(16'h96AA), .INIT1(16'h96AA), .INJECT1_0("NO"), .INJECT1_1("NO")) bits (
        .CIN(carry[i]), .COUT(carry[i+1]),
        .A0(first[2*i]), .B0(second[2*i]), .C0(i == 0 ? 1'b0 : BI), .D0(1'b1), .S0(sum[2*i]),
        .A1(first[2*i+1]), .B1(second[2*i+1]), .C1(BI), .D1(1'b1), .S1(sum[2*i+1]));
    assign CO[2*i] = carry[i+1];
    if (i > 0)
      assign CO[2*i-1] = (a[2*i-1] & operand[2*i-1]) | (carry[i] & X[2*i-1]);
  end endgenerate
endmodule
"""
_ENDS = r"""
// The first cell of a chain, whose carry and first summand are constants: its lower half makes the
// carry of what they and the other summand are, whatever comes in.
(* techmap_celltype = "CCU2C" *)
module chain_head (CIN, A0, B0, C0, D0, A1, B1, C1, D1, S0, S1, COUT);
  parameter INIT0 = 0;
  parameter INIT1 = 0;
  parameter INJECT1_0 = "NO";
  parameter INJECT1_1 = "NO";
  parameter _TECHMAP_CONSTMSK_CIN_ = 0;
  parameter _TECHMAP_CONSTVAL_CIN_ = 0;
  parameter _TECHMAP_CONSTMSK_A0_ = 0;
  parameter _TECHMAP_CONSTMSK_C0_ = 0;
  parameter _TECHMAP_CONSTVAL_C0_ = 0;
  parameter _TECHMAP_CONSTVAL_D0_ = 0;
  input CIN, A0, B0, C0, D0, A1, B1, C1, D1;
  output S0, S1, COUT;
  wire _TECHMAP_FAIL_ = !(_TECHMAP_CONSTMSK_CIN_ && _TECHMAP_CONSTMSK_A0_ &&
      _TECHMAP_CONSTMSK_C0_ && _TECHMAP_CONSTVAL_D0_ === 1'b1 && INIT0 == 16'h96AA &&
      INJECT1_0 == "NO");
  // the truth table of the carry of A0 and B0 (inverted by C0)
  localparam [3:0] CARRY = _TECHMAP_CONSTVAL_C0_ ? (_TECHMAP_CONSTVAL_CIN_ ? 4'b1011 : 4'b0010)
                                                 : (_TECHMAP_CONSTVAL_CIN_ ? 4'b1110 : 4'b1000);
  LUT4 #(.INIT(_TECHMAP_CONSTVAL_CIN_ ? 16'h6900 : 16'h9600))
      sum (.A(A0), .B(B0), .C(C0), .D(1'b1), .Z(S0));
  CCU2C #(.INIT0({12'h000, CARRY}), .INIT1(INIT1), .INJECT1_0("NO"), .INJECT1_1(INJECT1_1))
      _TECHMAP_REPLACE_ (.CIN(1'bx), .A0(A0), .B0(B0), .C0(1'b1), .D0(1'b1),
      .A1(A1), .B1(B1), .C1(C1), .D1(D1), .S1(S1), .COUT(COUT));
endmodule

// The last cell of a chain. nextpnr wants the pin, and no net at it.
(* techmap_celltype = "CCU2C_END" *)
module chain_end (CIN, A0, B0, C0, D0, A1, B1, C1, D1, S0, S1, COUT);
  parameter INIT0 = 0;
  parameter INIT1 = 0;
  parameter INJECT1_0 = "NO";
  parameter INJECT1_1 = "NO";
  input CIN, A0, B0, C0, D0, A1, B1, C1, D1;
  output S0, S1, COUT;
  wire [511:0] _TECHMAP_DO_ = "connect -port _TECHMAP_REPLACE_ COUT 1'bx";
  CCU2C #(.INIT0(INIT0), .INIT1(INIT1), .INJECT1_0(INJECT1_0), .INJECT1_1(INJECT1_1))
      _TECHMAP_REPLACE_ (.CIN(CIN), .A0(A0), .B0(B0), .C0(C0), .D0(D0),
      .A1(A1), .B1(B1), .C1(C1), .D1(D1), .S0(S0), .S1(S1));
endmodule
"""
ECP5_CARRIES = CarryMaps(
    sums=_SUMS,
    close=(
        "splitnets t:CCU2C %co1:+CCU2C[COUT] w:* %i",
        # cells whose carry is an input of another cell or an output of the design
        "select -set open c:* %ci1 o:* %u w:* %i %ci1:+CCU2C[COUT] t:CCU2C %i",
        "chtype -set CCU2C_END t:CCU2C @open %d",
    ),
    ends=_ENDS,
    cells=("CCU2C", "CCU2C_END"),
)
