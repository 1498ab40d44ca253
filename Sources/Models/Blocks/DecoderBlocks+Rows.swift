import Compute
import KernelSets
import MPI
import Mixers
import Sharding
import Tensors

/// Rows of all tokens of a rank at once, as layers with states make them.
extension DecoderBlocks {
  /// Zeros `[sequences, tokens, …]` for the tokens of a rank.
  func zeros(
    _ name: String, _ sizes: Int..., of sequences: Int, on line: RankLine
  ) -> MixerTensor {
    let names = sizes.count == 1 ? ["columns"] : ["heads", "columns"]
    return MixerTensor(
      zeros: TensorForm(
        name: name, dimensions: ["batch", "tokens"] + names,
        sizes: [sequences, line.sharding.tokens] + sizes), tokens: line.tokens)
  }

  /// Normalises rows in place.
  func normalise(_ rows: inout MutableSpan<Float>, by norm: Norm) {
    let width = norm.weights.count
    for first in stride(from: 0, to: rows.count / width, by: chunk) {
      let tokens = first..<min(first + chunk, rows.count / width)
      var part = rows.part(tokens.scaled(by: width))
      room.normalise(part.span, by: norm)
      room.normalised.read(0..<part.count) { team.copy($0, to: &part) }
    }
  }

  /// Normalised rows of all tokens of a rank, next to those before them, called by all ranks
  /// together.
  func shifted(
    _ rows: borrowing Span<Float>, of sequences: Int, by norm: Norm, before: MixerTensor?,
    on line: RankLine
  ) throws(MPIError) -> TokenShift {
    let width = norm.weights.count
    let normalised = zeros("x", width, of: sequences, on: line)
    forEachChunk(of: rows.count / width) { tokens in
      let places = tokens.scaled(by: width)
      room.normalise(rows.extracting(places), by: norm)
      room.normalised.read(0..<places.count) { source in
        normalised.write(places) { team.copy(source, to: &$0) }
      }
    }
    return try TokenShift(normalised, before: before, on: line)
  }

  /// Means of some rows and those before them, in the room.
  func mix(_ shift: TokenShift, _ tokens: Range<Int>, by weights: MixerTensor) {
    let none: [Float] = []
    room.normalised.write(0..<tokens.count * weights.count) {
      shift.mix(tokens, by: weights, less: none.span, into: &$0, team: team)
    }
  }

  /// Adds products of rows `[tokens, matrix.inputs]` to others.
  func add(
    _ source: borrowing Span<Float>, times matrix: StoredMatrix, bias: [Float] = [],
    to rows: inout MutableSpan<Float>
  ) {
    let width = matrix.outputs
    for first in stride(from: 0, to: rows.count / width, by: chunk) {
      let tokens = first..<min(first + chunk, rows.count / width)
      var part = rows.part(tokens.scaled(by: width))
      room.multiply(
        source.extracting(tokens.scaled(by: matrix.inputs)), rows: tokens.count, by: [matrix],
        into: &part, adding: true)
      team.add(bias: bias.span, to: &part)
    }
  }

  /// Normalises columns of rows in groups, a chunk at a time, in place, and weighs them.
  ///
  /// - Parameters:
  ///   - rows: `[tokens, norm.weights.count]`.
  ///   - groups: into which a row is divided.
  ///   - gates: as many as `rows`, of which `silu` is multiplied by; nil for none.
  func normalise(
    _ rows: MixerTensor, inGroups groups: Int, by norm: Norm, gates: MixerTensor? = nil
  ) {
    let width = norm.weights.count
    let ones = [Float](repeating: 1, count: width / groups)
    let none: [Float] = []
    forEachChunk(of: rows.count / width) { tokens in
      let places = tokens.scaled(by: width)
      room.projected.write(0..<places.count) { target in
        norm.kind.apply(
          rows.span.extracting(places), weights: ones.span, bias: none.span, into: &target,
          team: team)
        if let gates {
          team.weigh(
            &target, by: norm.weights.span, bias: norm.bias.span,
            gates: gates.span.extracting(places))
        } else {
          team.weigh(&target, by: norm.weights.span, bias: norm.bias.span, gates: none.span)
        }
      }
      room.projected.read(0..<places.count) { source in
        rows.write(places) { team.copy(source, to: &$0) }
      }
    }
  }
}
