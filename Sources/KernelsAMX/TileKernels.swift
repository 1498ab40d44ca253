package import AttentionTypes
import CInstructions
package import Compute

/// The passes of this module, which is compiled once for the instructions and once, for tests, for
/// a model of them.
package enum TileKernels: TilePasses {
  package static func forward(
    _ work: ForwardWork, team: ThreadTeam, poll: (_ scores: Int) -> Void
  ) {
    ForwardPass<BFloat16Pair>(work).run(on: team, poll: poll)
  }

  package static func backward(
    _ work: BackwardWork, team: ThreadTeam, poll: (_ scores: Int) -> Void
  ) {
    let pass = BackwardPass<BFloat16Pair>(work)
    team.run(ConcretePass(unitCount: pass.unitCount) { pass.run($0, poll: $1) }, poll: poll)
  }

  /// Makes nothing but products in tiles for some milliseconds.
  ///
  /// - Returns: floating-point operations a second, two for each multiply–add.
  package static func multiplyAddPeak() -> Double {
    let steps = 400_000
    BFloat16Pair.beginPass()
    defer { BFloat16Pair.endPass() }
    let duration = ContinuousClock().measure { gyre_tiles_multiply_only(steps) }
    let side = Int(GYRE_TILES_SIDE)
    let terms = Int(GYRE_TILES_PAIRS) * BFloat16Pair.depth
    return Double(steps * side * side * terms * 2) / (duration / .seconds(1))
  }
}
