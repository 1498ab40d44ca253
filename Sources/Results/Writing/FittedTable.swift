import Reporting

/// A table for people, made to fit a terminal.
package struct FittedTable {
  /// What all rows have in common, in a line; nil where nothing was taken out of the table.
  package private(set) var common: String?
  /// The rows, the names of the columns first.
  package private(set) var rows: [[String]]
  /// The names of the columns that there is no room for.
  package private(set) var leftOut: [String] = []

  /// - Parameters:
  ///   - rows: the names of the columns first.
  ///   - keys: how many columns from the left only tell rows apart.
  ///   - dispensable: names of columns, those first that are left out first.
  ///   - width: of the terminal; nil for no limit.
  package init(_ rows: [[String]], keys: Int, dispensable: [String], width: Int?) {
    self.rows = rows
    guard let width else { return }
    if isWider(than: width) { takeOutCommon(keys: keys) }
    for name in dispensable where isWider(than: width) {
      guard let column = self.rows[0].firstIndex(of: name) else { continue }
      remove([column])
      leftOut.append(name)
    }
  }

  /// The line of what is common, the table, and what is missing.
  package var text: String {
    let missing =
      leftOut.isEmpty
      ? nil
      : "For want of room without \(leftOut.joined(separator: ", ")); --columns all shows all."
    return [common, table(rows, names: names), missing].compactMap { $0 }
      .joined(separator: "\n\n")
  }

  /// The columns to the left: of words.
  private var names: Set<Int> {
    Set(
      rows[0].indices.filter { column in
        rows.count > 1 && rows.dropFirst().allSatisfy { $0[column].first?.isLetter ?? false }
      })
  }

  private func isWider(than width: Int) -> Bool {
    rows[0].indices.reduce(-3) { sum, column in
      sum + 3 + (rows.map { $0[column].count }.max() ?? 0)
    } > width
  }

  private mutating func takeOutCommon(keys: Int) {
    guard rows.count > 1 else { return }
    var constant = (0..<min(keys, rows[0].count)).filter { column in
      rows.dropFirst(2).allSatisfy { $0[column] == rows[1][column] }
    }
    // A row needs a name.
    if constant.count == keys { constant.removeLast() }
    let words = constant.filter { !rows[1][$0].isEmpty }.map { "\(rows[0][$0]) \(rows[1][$0])" }
    if words.isEmpty { return }
    common = "In all rows: \(words.joined(separator: ", "))."
    remove(constant)
  }

  private mutating func remove(_ columns: [Int]) {
    let gone = Set(columns)
    rows = rows.map { row in row.indices.filter { !gone.contains($0) }.map { row[$0] } }
  }
}
