import ArgumentParser

/// How a table of results is printed.
enum TableFormat: String, CaseIterable, ExpressibleByArgument {
  case text, json, jsonl, csv, markdown
}

/// How results are printed.
struct TableOptions: ParsableArguments {
  @Option(help: "A table, one JSON object, or rows for other programs.")
  var format = TableFormat.text

  @Option(
    help: ArgumentHelp(
      """
      The columns of a table by their names, as ranks,time,efficiency; or all. (default: all; on a \
      terminal those that it has room for)
      """, valueName: "list|all"),
    transform: { ColumnChoice(parsing: $0) })
  var columns: ColumnChoice?

  /// Refuses columns that a table does not have.
  ///
  /// - Parameter known: the names that there are.
  func check(_ known: [String]) throws {
    guard let columns else { return }
    guard format == .text || format == .markdown else {
      throw ValidationError(
        "--columns is of tables, and --format \(format) has all fields; leave one of them out.")
    }
    if case .named(let names) = columns,
      let unknown = names.first(where: { ColumnChoice.place(of: $0, in: known) == nil })
    {
      throw ValidationError(
        "there is no column '\(unknown)'; give some of \(known.joined(separator: ", ")), or all.")
    }
  }
}

/// What `--columns` takes.
enum ColumnChoice: Hashable {
  case all
  case named([String])

  /// Parses `ranks,time` or `all`.
  init(parsing text: String) {
    self =
      text == "all"
      ? .all
      : .named(
        text.split(separator: ",", omittingEmptySubsequences: false).map(String.init))
  }

  /// Where a column is: large and small letters are the same, and so are a hyphen and a space.
  static func place(of name: String, in header: [String]) -> Int? {
    func plain(_ text: String) -> String {
      text.lowercased().replacing("-", with: " ").replacing("_", with: " ")
    }
    return header.firstIndex { plain($0) == plain(name) }
  }
}
