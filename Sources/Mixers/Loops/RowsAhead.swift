import CInstructions

/// Stretches of rows that will be gone through column by column, some tokens at a time.
///
/// Such a loop reads a few numbers of each row, and the processor does not foresee which line comes
/// next: without this it waits for memory at every row. Each pass through some columns asks for a
/// share of the rows of the next pass, in their order.
@safe
struct RowsAhead {
  private let rows: [UnsafeMutablePointer<Float>]
  /// From a row to the next.
  private let step: Int
  private let count: Int
  /// Columns of a stretch.
  private let width: Int

  /// - Parameters:
  ///   - tensors: `[batch, tokens, columns]`, that are read or written.
  ///   - sequence: of which rows are.
  ///   - tokens: rows of a sequence.
  ///   - columns: of the stretch.
  init(_ tensors: [MixerTensor], sequence: Int, tokens: Int, columns: Range<Int>) {
    step = tensors.first?.form.sizes[2] ?? 0
    let first = sequence * tokens * step + columns.lowerBound
    unsafe rows = tensors.map { unsafe $0.base + first }
    (count, width) = (tokens, columns.count)
  }

  /// Asks for a share of some rows, of those that there are.
  ///
  /// - Parameters:
  ///   - share: of one for each eight columns.
  @inline(__always)
  func ask(for tokens: Range<Int>, share: Int) {
    let shares = (width + 7) / 8
    let first = tokens.lowerBound + tokens.count * share / shares
    let end = tokens.lowerBound + tokens.count * (share + 1) / shares
    for token in (first..<end).clamped(to: 0..<count) {
      for tensor in unsafe rows.indices {
        let row = unsafe rows[tensor] + token * step
        for column in Swift.stride(from: 0, to: width, by: 16) {
          unsafe gyre_prefetch_near(row + column)
        }
      }
    }
  }
}
