import CInstructions

/// Stretches of rows that will be gone through some tokens at a time.
///
/// The loop has to take eight columns of some tokens before the next eight. Where it takes a few
/// lines of each row side by side, the processor foresees more of them, and fetches several times
/// what is wanted. While some tokens are computed it asks for the same line of later ones.
@safe
struct RowsAhead {
  @safe
  private struct Stretch {
    let base: UnsafeMutablePointer<Float>
    /// From a row to the next.
    let step: Int
  }

  private let stretches: [Stretch]
  private let count: Int

  /// Some columns of each row.
  ///
  /// - Parameters:
  ///   - tensors: `[batch, tokens, columns]`, that are read or written.
  ///   - sequence: of which rows are.
  ///   - tokens: rows of a sequence.
  ///   - columns: of the stretch.
  init(_ tensors: [MixerTensor], sequence: Int, tokens: Int, columns: Range<Int>) {
    stretches = tensors.map { tensor in
      let step = tensor.form.sizes[2]
      return unsafe Stretch(
        base: tensor.base + sequence * tokens * step + columns.lowerBound, step: step)
    }
    count = tokens
  }

  /// Asks for eight columns of a token, if there is one; of two such neighbours, which share a
  /// cache line, for the first.
  @inline(__always)
  func ask(for token: Int, column: Int) {
    if column % 16 != 0 || token < 0 || token >= count { return }
    for index in stretches.indices {
      unsafe gyre_prefetch_far(stretches[index].base + token * stretches[index].step + column)
    }
  }
}
