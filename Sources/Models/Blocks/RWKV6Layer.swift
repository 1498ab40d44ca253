import Compute
import KernelSets
import MPI
import Mixers
import Sharding
import Tensors

/// A layer of RWKV's sixth version: `h = x + out · (norm(wkv(r, k, v, w)) ∘ silu(g))`, where each
/// of w, k, v, r and g is made of a mean of normalised rows and those before them, with weights
/// that the token decides, and then ``RWKVChannels``.
///
/// Source: Peng et al. 2024, Eagle and Finch: RWKV with Matrix-Valued States and Dynamic
/// Recurrence, section 4.
struct RWKV6Layer: StateLayer {
  /// What a mean is for.
  struct Mean: Sendable {
    /// `w`, `k`, `v`, `r` or `g`.
    let name: String
    /// `[width]`: what the newer row counts for, before the token decides.
    let weights: MixerTensor
    /// `[width, few]`: what the token takes from that.
    let decision: StoredMatrix
    /// What is made of it: one product, or two with `tanh` between them.
    let matrices: [StoredMatrix]
  }

  /// Before the first layer of all; nil in others.
  let first: Norm?
  /// Before time is mixed.
  let norm: Norm
  /// `[width]`: what the newer row counts for in the mean that decides.
  let deciding: MixerTensor
  /// `[5 · few, width]`.
  let decision: StoredMatrix
  let means: [Mean]
  /// `[inner]`, added before exponents are made.
  let decay: [Float]
  /// `[heads, headDim]`: `u` of the operator.
  let bonus: MixerTensor
  /// Of each head's outputs, `[inner]`.
  let outputNorm: Norm
  /// `[width, inner]`.
  let output: StoredMatrix
  let channels: RWKVChannels
  /// Whether rows are halved after the layer, as the weights of those that follow want them.
  let halves: Bool

  private var width: Int { output.outputs }
  private var inner: Int { output.inputs }
  private var few: Int { decision.outputs / means.count }
  private var heads: Int { bonus.form.sizes[0] }
  private var headDim: Int { bonus.form.sizes[1] }

  var matrices: [StoredMatrix] {
    [decision] + means.flatMap { [$0.decision] + $0.matrices } + [output] + channels.matrices
  }
  var stateCount: Int { inner * headDim + 2 * width }
  var rowWidth: Int { width + 6 * inner }
  var scanWork: Int { inner * (5 * headDim + 40) + 40 * width }

  var halos: [(rows: Int, columns: Int)] { [(1, width), (1, width)] }

  func scan(_ sequences: Int, tokens: Int, hasState: Bool) -> StateScan {
    StateScan(
      "rwkv6",
      [
        "batch": sequences, "tokens": tokens, "heads": heads, "headDim": headDim,
        "valueHeadDim": headDim,
      ], present: hasState ? ["state"] : [])
  }

  func run(
    _ rows: inout MutableSpan<Float>, of sequences: Int, from state: MixerTensors?,
    _ blocks: DecoderBlocks, on line: RankLine
  ) throws(MPIError) -> MixerTensors {
    if let first { blocks.normalise(&rows, by: first) }
    let shift = try blocks.shifted(
      rows.span, of: sequences, by: norm, before: state?["time_before"], on: line)
    var after = MixerTensors()
    after.add(shift.last(named: "time_before"))
    var inputs = MixerTensors()
    for mean in means {
      inputs.add(blocks.zeros(mean.name, heads, headDim, of: sequences, on: line))
    }
    blocks.forEachChunk(of: sequences * line.tokens) {
      mixTime($0, of: shift, into: inputs, blocks)
    }
    inputs.add(bonus)
    if let state { inputs.add(state["state"]) }
    let result = try scan(sequences, tokens: line.sharding.tokens, hasState: state != nil)
      .run(inputs, on: line)
    after.add(result["state"])
    let o = result["o"]
    blocks.normalise(o, inGroups: heads, by: outputNorm, gates: inputs["g"])
    blocks.add(o.span, times: output, to: &rows)
    after.add(
      try channels.run(&rows, of: sequences, before: state?["channels_before"], blocks, on: line))
    if halves { blocks.team.halve(&rows) }
    return after
  }

  /// What is made of the means of some tokens.
  private func mixTime(
    _ tokens: Range<Int>, of shift: TokenShift, into inputs: MixerTensors, _ blocks: DecoderBlocks
  ) {
    let (room, count, few) = (blocks.room, tokens.count, few)
    let size = count * width
    blocks.mix(shift, tokens, by: deciding)
    room.normalised.read(0..<size) { source in
      room.hidden.write(0..<count * decision.outputs) { target in
        room.multiply(source, rows: count, by: [decision], into: &target)
        blocks.team.applyTanh(&target)
      }
    }
    let none: [Float] = []
    for (number, mean) in means.enumerated() {
      room.hidden.read(0..<count * decision.outputs) { all in
        room.projected.write(0..<count * few) {
          blocks.team.copy(
            columns: number * few..<(number + 1) * few, of: all, width: decision.outputs,
            bias: none.span, to: &$0)
        }
      }
      room.projected.read(0..<count * few) { source in
        room.normalised.write(0..<size) {
          room.multiply(source, rows: count, by: [mean.decision], into: &$0)
        }
      }
      room.normalised.read(0..<size) { less in
        room.projected.write(0..<size) {
          shift.mix(tokens, by: mean.weights, less: less, into: &$0, team: blocks.team)
        }
      }
      multiply(tokens, by: mean.matrices, into: inputs[mean.name], blocks)
    }
    inputs["w"].write(tokens.scaled(by: inner)) {
      blocks.team.add(bias: decay.span, to: &$0)
      blocks.team.makeExponents(&$0)
    }
  }

  /// Multiplies a mean of some tokens.
  private func multiply(
    _ tokens: Range<Int>, by matrices: [StoredMatrix], into target: MixerTensor,
    _ blocks: DecoderBlocks
  ) {
    let (room, count, last) = (blocks.room, tokens.count, matrices[matrices.count - 1])
    let places = tokens.scaled(by: inner)
    if matrices.count == 1 {
      return room.projected.read(0..<count * width) { source in
        target.write(places) { room.multiply(source, rows: count, by: [last], into: &$0) }
      }
    }
    let between = 0..<count * last.inputs
    room.projected.read(0..<count * width) { source in
      room.normalised.write(between) {
        room.multiply(source, rows: count, by: [matrices[0]], into: &$0)
        blocks.team.applyTanh(&$0)
      }
    }
    room.normalised.read(between) { source in
      target.write(places) { room.multiply(source, rows: count, by: [last], into: &$0) }
    }
  }
}
