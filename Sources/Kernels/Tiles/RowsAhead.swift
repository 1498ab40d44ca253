import CInstructions

/// Rows of queries that are asked for before they are packed: rows of other heads lie between them,
/// past which no processor looks ahead by itself.
enum RowsAhead {
  /// How many rows before it is packed a row is asked for.
  @inline(__always) static var distance: Int { 12 }

  /// Asks the first-level cache for a row.
  @unsafe @inline(__always)
  static func ask(for row: UnsafePointer<Float>, columns: Int) {
    for column in stride(from: 0, to: columns, by: 16) { unsafe gyre_prefetch_near(row + column) }
  }
}
