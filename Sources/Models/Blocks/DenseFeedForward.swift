import Compute
import KernelSets

/// A feed-forward part of one hidden layer: `post(down · f(n))`, where `f(n)` is
/// `act(gate · n) ∘ (up · n)`, or `act(up · n)` without a gate.
///
/// Sources: Vaswani et al. 2017, Attention Is All You Need, section 3.3; Shazeer 2020, GLU Variants
/// Improve Transformer.
struct DenseFeedForward: FeedForward {
  /// What the hidden numbers, or their gates, go through.
  let activation: Activation
  /// `[hidden, width]`; nil for a part without a gate.
  let gate: StoredMatrix?
  /// `[hidden, width]`.
  let up: StoredMatrix
  /// Of the hidden numbers, or empty.
  var upBias: [Float] = []
  /// `[width, hidden]`.
  let down: StoredMatrix
  /// Of what is added, or empty.
  var downBias: [Float] = []
  /// Of what is added; nil where there is none.
  var postNorm: Norm?

  /// What is multiplied by first.
  private var expanding: [StoredMatrix] { (gate.map { [$0] } ?? []) + [up] }

  var matrices: [StoredMatrix] { expanding + [down] }
  var multipliedBytes: Int { matrices.byteCount }
  var productWidth: Int { matrices.outputs }
  var productWork: Int { matrices.work }

  func add(
    to rows: inout MutableSpan<Float>, normalisedBy norm: Norm, _ blocks: DecoderBlocks
  ) {
    let (room, team, hidden) = (blocks.room, blocks.team, up.outputs)
    let size = rows.count / up.inputs * hidden
    blocks.multiply(rows.span, normalisedBy: norm, by: expanding)
    room.hidden.write(0..<size) { numbers in
      if gate != nil {
        room.projected.read(0..<2 * size) { both in
          activation.applyGated(both, width: hidden, into: &numbers, team: team)
        }
      } else {
        room.projected.read(0..<size) { team.copy($0, to: &numbers) }
        team.add(bias: upBias.span, to: &numbers)
        activation.apply(&numbers, team: team)
      }
    }
    room.hidden.read(0..<size) { numbers in
      blocks.add(numbers, times: down, bias: downBias, norm: postNorm, to: &rows)
    }
  }
}
