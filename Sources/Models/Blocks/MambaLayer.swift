import Compute
import KernelSets
import MPI
import Mixers
import Sharding
import Tensors

/// A layer of Mamba: `x + out · (scan(u, Δ, B, C) ∘ silu(z))`, where `(v, z) = in · norm(x)`, `u`
/// is `v` after a short convolution, and Δ, B and C are made of `u`.
///
/// Source: Gu and Dao 2023, Mamba, section 3.4.
struct MambaLayer: StateLayer {
  /// Channels between both products.
  let inner: Int
  /// Numbers of a channel's state.
  let states: Int
  /// Numbers of a token that step sizes are made of.
  let rank: Int
  /// Before all.
  let norm: Norm
  /// `[2 · inner, width]`: the channels, then their gates.
  let input: StoredMatrix
  /// Likewise, or empty.
  let inputBias: [Float]
  /// `[inner, taps]`.
  let convolution: MixerTensor
  /// `[inner]`.
  let convolutionBias: MixerTensor?
  /// `[rank + 2 · states, inner]`: of step sizes, B and C.
  let parameters: StoredMatrix
  /// `[inner, rank]`.
  let steps: StoredMatrix
  /// What the scan reads that all tokens share: `a`, `d` and `delta_bias`.
  let shared: [MixerTensor]
  /// `[width, inner]`.
  let output: StoredMatrix
  /// Likewise, or empty.
  let outputBias: [Float]

  var matrices: [StoredMatrix] { [input, parameters, steps, output] }
  var stateCount: Int { inner * (states + convolution.form.sizes[1] - 1) }
  var rowWidth: Int { 5 * inner + 2 * states }
  var scanWork: Int { inner * (7 * states + 2 * convolution.form.sizes[1] + 20) }

  var halos: [(rows: Int, columns: Int)] { [(convolution.form.sizes[1] - 1, inner)] }

  func scan(_ sequences: Int, tokens: Int, hasState: Bool) -> StateScan {
    var options = MixerOptions()
    options.softplus = true
    return StateScan(
      "mamba", ["batch": sequences, "tokens": tokens, "channels": inner, "state": states],
      present: Set(["z", "delta_bias"] + (hasState ? ["state"] : [])), options: options)
  }

  func run(
    _ rows: inout MutableSpan<Float>, of sequences: Int, from state: MixerTensors?,
    _ blocks: DecoderBlocks, on line: RankLine
  ) throws(MPIError) -> MixerTensors {
    let (x, z) = (
      blocks.zeros("x", inner, of: sequences, on: line),
      blocks.zeros("z", inner, of: sequences, on: line)
    )
    expand(rows.span, x, z, blocks)
    let convolution = ShortConvolution.Pass(
      x, weight: convolution, bias: convolutionBias, before: state?["conv_state"])
    let (u, before) = try convolution.run(on: line)
    var inputs = MixerTensors()
    inputs.add(u.named("x"))
    inputs.add(z)
    for name in ["delta", "b", "c"] {
      inputs.add(blocks.zeros(name, name == "delta" ? inner : states, of: sequences, on: line))
    }
    makeParameters(u, inputs, blocks)
    for tensor in shared { inputs.add(tensor) }
    if let state { inputs.add(state["state"]) }
    let result = try scan(sequences, tokens: line.sharding.tokens, hasState: state != nil)
      .run(inputs, on: line)
    blocks.add(result["o"].span, times: output, bias: outputBias, to: &rows)
    var after = MixerTensors()
    after.add(result["state"])
    after.add(before)
    return after
  }

  /// The channels of tokens and their gates.
  private func expand(
    _ rows: borrowing Span<Float>, _ x: MixerTensor, _ z: MixerTensor, _ blocks: DecoderBlocks
  ) {
    let width = input.inputs
    let biases =
      inputBias.isEmpty ? [[], []] : [Array(inputBias[..<inner]), Array(inputBias[inner...])]
    blocks.forEachChunk(of: rows.count / width) { tokens in
      blocks.multiply(
        rows.extracting(tokens.scaled(by: width)), normalisedBy: norm, by: [input])
      blocks.room.projected.read(0..<tokens.count * 2 * inner) { both in
        for (half, target) in [x, z].enumerated() {
          let bias = biases[half]
          target.write(tokens.scaled(by: inner)) { part in
            blocks.team.copy(
              columns: half * inner..<(half + 1) * inner, of: both, width: 2 * inner,
              bias: bias.span, to: &part)
          }
        }
      }
    }
  }

  /// Step sizes before their bias, B and C of tokens.
  private func makeParameters(
    _ u: MixerTensor, _ inputs: MixerTensors, _ blocks: DecoderBlocks
  ) {
    let (width, room) = (rank + 2 * states, blocks.room)
    let (delta, b, c) = (inputs["delta"], inputs["b"], inputs["c"])
    let none: [Float] = []
    blocks.forEachChunk(of: u.count / inner) { tokens in
      let count = tokens.count
      room.projected.write(0..<count * width) { target in
        room.multiply(
          u.span.extracting(tokens.scaled(by: inner)), rows: count, by: [parameters],
          into: &target)
      }
      room.projected.read(0..<count * width) { all in
        room.hidden.write(0..<count * rank) { part in
          blocks.team.copy(columns: 0..<rank, of: all, width: width, bias: none.span, to: &part)
        }
        for (number, target) in [b, c].enumerated() {
          let first = rank + number * states
          target.write(tokens.scaled(by: states)) { part in
            blocks.team.copy(
              columns: first..<first + states, of: all, width: width, bias: none.span, to: &part)
          }
        }
      }
      room.hidden.read(0..<count * rank) { part in
        delta.write(tokens.scaled(by: inner)) { target in
          room.multiply(part, rows: count, by: [steps], into: &target)
        }
      }
    }
  }
}
