/// How a table of results is printed.
package enum TableFormat: String, CaseIterable, Sendable {
  case text, json, jsonl, csv, markdown
}

/// The columns that a table is to have.
package enum ColumnChoice: Hashable, Sendable {
  case all
  case named([String])

  /// Parses `ranks,time` or `all`.
  package init(parsing text: String) {
    self =
      text == "all"
      ? .all
      : .named(
        text.split(separator: ",", omittingEmptySubsequences: false).map(String.init))
  }

  /// Where a column is: large and small letters are the same, and so are a hyphen and a space.
  package static func place(of name: String, in header: [String]) -> Int? {
    func plain(_ text: String) -> String {
      text.lowercased().replacing("-", with: " ").replacing("_", with: " ")
    }
    return header.firstIndex { plain($0) == plain(name) }
  }
}
