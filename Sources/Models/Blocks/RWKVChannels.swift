import Compute
import KernelSets
import MPI
import Mixers
import Tensors

/// The second part of a layer of RWKV: `y = h + σ(r) ∘ (value · max(0, k)²)`, where r and k are
/// products of a mean of normalised rows and those before them.
///
/// Source: Peng et al. 2023, RWKV: Reinventing RNNs for the Transformer Era, section 3.1.
struct RWKVChannels: Sendable {
  /// Before all.
  let norm: Norm
  /// What the newer row counts for, and the matrices: of receptances, `[width, width]`, and keys,
  /// `[hidden, width]`.
  let receptance: (weights: MixerTensor, matrix: StoredMatrix)
  let key: (weights: MixerTensor, matrix: StoredMatrix)
  /// `[width, hidden]`.
  let value: StoredMatrix

  var matrices: [StoredMatrix] { [receptance.matrix, key.matrix, value] }

  /// Adds the part to rows.
  ///
  /// - Returns: the rows that the next ones are mixed with, on the rank with the last tokens.
  func run(
    _ rows: inout MutableSpan<Float>, of sequences: Int, before: MixerTensor?,
    _ blocks: DecoderBlocks, on line: RankLine
  ) throws(MPIError) -> MixerTensor {
    let shift = try blocks.shifted(
      rows.span, of: sequences, by: norm, before: before, on: line)
    let (room, hidden, width) = (blocks.room, value.inputs, value.outputs)
    let all = sequences * line.tokens
    for start in stride(from: 0, to: all, by: blocks.chunk) {
      let tokens = start..<min(start + blocks.chunk, all)
      let (count, size) = (tokens.count, tokens.count * width)
      blocks.mix(shift, tokens, by: key.weights)
      room.normalised.read(0..<size) { source in
        room.hidden.write(0..<count * hidden) { keys in
          room.multiply(source, rows: count, by: [key.matrix], into: &keys)
          blocks.team.squarePositives(&keys)
        }
      }
      // Values and what gates them, side by side in the widest room.
      room.hidden.read(0..<count * hidden) { keys in
        room.projected.write(0..<size) {
          room.multiply(keys, rows: count, by: [value], into: &$0)
        }
      }
      blocks.mix(shift, tokens, by: receptance.weights)
      room.normalised.read(0..<size) { source in
        room.projected.write(size..<2 * size) {
          room.multiply(source, rows: count, by: [receptance.matrix], into: &$0)
        }
      }
      var part = rows.part(tokens.scaled(by: width))
      room.projected.read(0..<2 * size) { both in
        blocks.team.addGated(
          both.extracting(0..<size), by: both.extracting(size..<2 * size), to: &part)
      }
    }
    return shift.last(named: "channels_before")
  }
}
