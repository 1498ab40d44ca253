import Compute
import KernelSets
import MPI
import Mixers
import Sharding
import Tensors

/// A layer of RWKV's fourth version: `h = x + out · (σ(r) ∘ wkv(k, v))` and
/// `y = h + σ(r') ∘ (value · max(0, k')²)`, where each of r, k, v, r' and k' is a product of a mean
/// of normalised rows and those before them.
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
  /// Before channels are mixed.
  let channelNorm: Norm
  /// Of receptances, `[width, width]`, and keys, `[hidden, width]`, of channels.
  let channelReceptance: (weights: MixerTensor, matrix: StoredMatrix)
  let channelKey: (weights: MixerTensor, matrix: StoredMatrix)
  /// `[width, hidden]`.
  let channelValue: StoredMatrix

  private var width: Int { output.outputs }
  private var inner: Int { output.inputs }

  var matrices: [StoredMatrix] {
    mixed.map(\.matrix) + [output, channelReceptance.matrix, channelKey.matrix, channelValue]
  }
  var stateCount: Int { 3 * inner + 2 * width }
  var rowWidth: Int { width + 4 * inner }
  var scanWork: Int { 20 * inner + 15 * width }

  func run(
    _ rows: inout MutableSpan<Float>, from state: MixerTensors?, _ blocks: DecoderBlocks,
    on line: RankLine
  ) throws(MPIError) -> MixerTensors {
    if let first { normalise(&rows, by: first, blocks) }
    var after = MixerTensors()
    try mixTime(&rows, state, &after, blocks, line)
    try mixChannels(&rows, state, &after, blocks, line)
    return after
  }

  /// Normalises rows in place.
  private func normalise(
    _ rows: inout MutableSpan<Float>, by norm: Norm, _ blocks: DecoderBlocks
  ) {
    let count = rows.count / width
    for start in stride(from: 0, to: count, by: blocks.chunk) {
      var part = rows.part((start..<min(start + blocks.chunk, count)).scaled(by: width))
      blocks.room.normalise(part.span, by: norm)
      blocks.room.normalised.read(0..<part.count) { blocks.team.copy($0, to: &part) }
    }
  }

  /// Normalised rows of all tokens of a rank, next to those before them.
  private func shifted(
    _ rows: borrowing Span<Float>, by norm: Norm, before: MixerTensor?, _ blocks: DecoderBlocks,
    _ line: RankLine
  ) throws(MPIError) -> TokenShift {
    let normalised = tensor("x", width, line)
    blocks.forEachChunk(of: line.tokens) { tokens in
      let places = tokens.scaled(by: width)
      blocks.room.normalise(rows.extracting(places), by: norm)
      blocks.room.normalised.read(0..<places.count) { source in
        normalised.write(places) { blocks.team.copy(source, to: &$0) }
      }
    }
    return try TokenShift(normalised, before: before, on: line)
  }

  /// Zeros for all tokens of a rank.
  private func tensor(_ name: String, _ columns: Int, _ line: RankLine) -> MixerTensor {
    MixerTensor(
      zeros: TensorForm(
        name: name, dimensions: ["batch", "tokens", "columns"],
        sizes: [1, line.sharding.tokens, columns]), tokens: line.tokens)
  }

  private func mixTime(
    _ rows: inout MutableSpan<Float>, _ state: MixerTensors?, _ after: inout MixerTensors,
    _ blocks: DecoderBlocks, _ line: RankLine
  ) throws(MPIError) {
    let shift = try shifted(
      rows.span, by: norm, before: state?["time_before"], blocks, line)
    after.add(shift.last(named: "time_before", on: line))
    var inputs = MixerTensors()
    for (name, weights, matrix) in mixed {
      let target = tensor(name, inner, line)
      blocks.forEachChunk(of: line.tokens) { tokens in
        mix(shift, tokens, weights, blocks)
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
    let scan = StateScan(
      "rwkv4", ["batch": 1, "tokens": line.sharding.tokens, "channels": inner],
      present: Set(["r"] + (state == nil ? [] : ["state"])))
    let result = try scan.run(inputs, on: line)
    after.add(result["state"])
    let o = result["o"]
    for start in stride(from: 0, to: line.tokens, by: blocks.chunk) {
      let tokens = start..<min(start + blocks.chunk, line.tokens)
      var part = rows.part(tokens.scaled(by: width))
      blocks.room.multiply(
        o.span.extracting(tokens.scaled(by: inner)), rows: tokens.count, by: [output],
        into: &part, adding: true)
    }
  }

  /// Means of some rows and those before them, in the room.
  private func mix(
    _ shift: TokenShift, _ tokens: Range<Int>, _ weights: MixerTensor, _ blocks: DecoderBlocks
  ) {
    blocks.room.normalised.write(0..<tokens.count * width) {
      shift.mix(tokens, by: weights, into: &$0, team: blocks.team)
    }
  }

  private func mixChannels(
    _ rows: inout MutableSpan<Float>, _ state: MixerTensors?, _ after: inout MixerTensors,
    _ blocks: DecoderBlocks, _ line: RankLine
  ) throws(MPIError) {
    let shift = try shifted(
      rows.span, by: channelNorm, before: state?["channels_before"], blocks, line)
    after.add(shift.last(named: "channels_before", on: line))
    let (room, hidden) = (blocks.room, channelValue.inputs)
    for start in stride(from: 0, to: line.tokens, by: blocks.chunk) {
      let tokens = start..<min(start + blocks.chunk, line.tokens)
      let (count, size) = (tokens.count, tokens.count * width)
      mix(shift, tokens, channelKey.weights, blocks)
      room.normalised.read(0..<size) { source in
        room.hidden.write(0..<count * hidden) { keys in
          room.multiply(source, rows: count, by: [channelKey.matrix], into: &keys)
          blocks.team.squarePositives(&keys)
        }
      }
      // Values and what gates them, side by side in the widest room.
      room.hidden.read(0..<count * hidden) { keys in
        room.projected.write(0..<size) {
          room.multiply(keys, rows: count, by: [channelValue], into: &$0)
        }
      }
      mix(shift, tokens, channelReceptance.weights, blocks)
      room.normalised.read(0..<size) { source in
        room.projected.write(size..<2 * size) {
          room.multiply(source, rows: count, by: [channelReceptance.matrix], into: &$0)
        }
      }
      var part = rows.part(tokens.scaled(by: width))
      room.projected.read(0..<2 * size) { both in
        blocks.team.addGated(
          both.extracting(0..<size), by: both.extracting(size..<2 * size), to: &part)
      }
    }
  }
}
