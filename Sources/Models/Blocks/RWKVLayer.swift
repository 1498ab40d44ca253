import Compute
import KernelSets
import MPI
import Mixers
import Sharding
import Tensors

/// A layer of RWKV's fourth version: `h = x + out · (σ(r) ∘ wkv(k, v))`, where each of r, k and v
/// is a product of a mean of normalised rows and those before them, and then ``RWKVChannels``.
///
/// Source: Peng et al. 2023, RWKV: Reinventing RNNs for the Transformer Era, section 3.1.
struct RWKVLayer: StateLayer {
  /// Before the first layer of all; nil in others.
  let first: Norm?
  /// Before time is mixed.
  let norm: Norm
  /// `[width]`: what the newer row counts for in receptances, keys and values, and the matrices
  /// that make these of it, `[inner, width]`.
  let mixed: [(name: String, weights: MixerTensor, matrix: StoredMatrix)]
  /// `[inner]`: `w` and `u` of the operator.
  let shared: [MixerTensor]
  /// `[width, inner]`.
  let output: StoredMatrix
  let channels: RWKVChannels

  private var width: Int { output.outputs }
  private var inner: Int { output.inputs }

  var matrices: [StoredMatrix] { mixed.map(\.matrix) + [output] + channels.matrices }
  var stateCount: Int { 3 * inner + 2 * width }
  var rowWidth: Int { width + 4 * inner }
  var scanWork: Int { 20 * inner + 15 * width }

  var halos: [(rows: Int, columns: Int)] { [(1, width), (1, width)] }

  func scan(_ sequences: Int, tokens: Int, hasState: Bool) -> StateScan {
    StateScan(
      "rwkv4", ["batch": sequences, "tokens": tokens, "channels": inner],
      present: Set(["r"] + (hasState ? ["state"] : [])))
  }

  func run(
    _ rows: inout MutableSpan<Float>, of sequences: Int, from state: MixerTensors?,
    _ blocks: DecoderBlocks, on line: RankLine
  ) throws(MPIError) -> MixerTensors {
    if let first { blocks.normalise(&rows, by: first) }
    var after = MixerTensors()
    try mixTime(&rows, sequences, state, &after, blocks, line)
    after.add(
      try channels.run(&rows, of: sequences, before: state?["channels_before"], blocks, on: line))
    return after
  }

  private func mixTime(
    _ rows: inout MutableSpan<Float>, _ sequences: Int, _ state: MixerTensors?,
    _ after: inout MixerTensors, _ blocks: DecoderBlocks, _ line: RankLine
  ) throws(MPIError) {
    let shift = try blocks.shifted(
      rows.span, of: sequences, by: norm, before: state?["time_before"], on: line)
    after.add(shift.last(named: "time_before"))
    var inputs = MixerTensors()
    for (name, weights, matrix) in mixed {
      let target = blocks.zeros(name, inner, of: sequences, on: line)
      blocks.forEachChunk(of: sequences * line.tokens) { tokens in
        blocks.mix(shift, tokens, by: weights)
        blocks.room.normalised.read(0..<tokens.count * width) { source in
          target.write(tokens.scaled(by: inner)) {
            blocks.room.multiply(source, rows: tokens.count, by: [matrix], into: &$0)
          }
        }
      }
      inputs.add(target)
    }
    for tensor in shared { inputs.add(tensor) }
    if let state { inputs.add(state["state"]) }
    let result = try scan(sequences, tokens: line.sharding.tokens, hasState: state != nil)
      .run(inputs, on: line)
    after.add(result["state"])
    blocks.add(result["o"].span, times: output, to: &rows)
  }
}
