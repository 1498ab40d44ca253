import Compute
import KernelSets
import MPI
import Mixers
import Sharding
import Tensors

/// A layer of Mamba's second version: `x + out · norm((scan(v, g, B, C) + D u) ∘ silu(z))`, where
/// `(z, w, s) = in · norm(x)`, `(u, B, C)` are `w` after a short convolution, and step sizes of `s`
/// make values v of u, and exponents g.
///
/// Source: Dao and Gu 2024, Transformers are SSMs, section 7.
struct Mamba2Layer: StateLayer {
  let heads: Int
  /// Parts of B and C, each for neighbouring heads, and of what the last norm is of.
  let groups: Int
  /// Numbers of B, or C, of a group.
  let states: Int
  /// Before all.
  let norm: Norm
  /// `[inner + convolved + heads, width]`: gates, what is convolved, and step sizes.
  let input: StoredMatrix
  /// Likewise, or empty.
  let inputBias: [Float]
  /// `[convolved, taps]`.
  let convolution: MixerTensor
  /// `[convolved]`.
  let convolutionBias: MixerTensor?
  let steps: HeadSteps
  /// Of outputs, `[inner]`.
  let outputNorm: Norm
  /// `[width, inner]`.
  let output: StoredMatrix
  /// Likewise, or empty.
  let outputBias: [Float]

  private var inner: Int { output.inputs }
  private var columns: Int { inner / heads }
  /// Channels, then B and C.
  private var convolved: Int { inner + 2 * groups * states }
  private var taps: Int { convolution.form.sizes[1] }

  var matrices: [StoredMatrix] { [input, output] }
  var stateCount: Int { inner * states + convolved * (taps - 1) }
  var rowWidth: Int { 3 * inner + 2 * convolved + 2 * groups * states + heads }
  var scanWork: Int { inner * (5 * states + 30) + convolved * (2 * taps + 15) }

  var halos: [(rows: Int, columns: Int)] { [(taps - 1, convolved)] }

  func scan(_ sequences: Int, tokens: Int, hasState: Bool) -> StateScan {
    StateScan(
      "mamba2",
      [
        "batch": sequences, "tokens": tokens, "heads": heads, "groups": groups,
        "headDim": states, "valueHeadDim": columns,
      ], present: hasState ? ["state"] : [])
  }

  func run(
    _ rows: inout MutableSpan<Float>, of sequences: Int, from state: MixerTensors?,
    _ blocks: DecoderBlocks, on line: RankLine
  ) throws(MPIError) -> MixerTensors {
    let gates = blocks.zeros("z", inner, of: sequences, on: line)
    let g = blocks.zeros("g", heads, of: sequences, on: line)
    let (u, before) = try convolve(
      rows.span, of: sequences, gates, g, before: state?["conv_state"], blocks, on: line)
    var inputs = MixerTensors()
    inputs.add(blocks.zeros("v", heads, columns, of: sequences, on: line))
    steps.begin(g, of: u, into: inputs["v"], team: blocks.team)
    inputs.add(g)
    let none: [Float] = []
    for (number, name) in ["k", "q"].enumerated() {
      let target = blocks.zeros(name, groups, states, of: sequences, on: line)
      let first = inner + number * groups * states
      target.write(0..<target.count) {
        blocks.team.copy(
          columns: first..<first + groups * states, of: u.span, width: convolved, bias: none.span,
          to: &$0)
      }
      inputs.add(target)
    }
    if let state { inputs.add(state["state"]) }
    let result = try scan(sequences, tokens: line.sharding.tokens, hasState: state != nil)
      .run(inputs, on: line)
    let o = result["o"]
    steps.end(o, of: u, gates: gates, team: blocks.team)
    blocks.normalise(o, inGroups: groups, by: outputNorm)
    blocks.add(o.span, times: output, bias: outputBias, to: &rows)
    var after = MixerTensors()
    after.add(result["state"])
    after.add(before)
    return after
  }

  /// What is convolved of tokens, after it; their gates, and of what step sizes are made.
  private func convolve(
    _ rows: borrowing Span<Float>, of sequences: Int, _ gates: MixerTensor,
    _ sizes: MixerTensor, before: MixerTensor?, _ blocks: DecoderBlocks, on line: RankLine
  ) throws(MPIError) -> (output: MixerTensor, before: MixerTensor) {
    let x = blocks.zeros("x", convolved, of: sequences, on: line)
    let width = input.inputs
    blocks.forEachChunk(of: rows.count / width) { tokens in
      blocks.multiply(
        rows.extracting(tokens.scaled(by: width)), normalisedBy: norm, by: [input])
      blocks.room.projected.read(0..<tokens.count * input.outputs) { all in
        var first = 0
        for (target, count) in [(gates, inner), (x, convolved), (sizes, heads)] {
          let part = first..<first + count
          let bias = inputBias.isEmpty ? [] : Array(inputBias[part])
          target.write(tokens.scaled(by: count)) {
            blocks.team.copy(
              columns: part, of: all, width: input.outputs, bias: bias.span, to: &$0)
          }
          first += count
        }
      }
    }
    return try ShortConvolution.Pass(
      x, weight: convolution, bias: convolutionBias, before: before
    ).run(on: line)
  }
}
