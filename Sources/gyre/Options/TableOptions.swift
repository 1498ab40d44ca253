import ArgumentParser
import Results

extension TableFormat: ExpressibleByArgument {}

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

extension BenchReport {
  /// The results as asked for, a table so that the terminal has room for it.
  func text(_ options: TableOptions) throws -> String {
    try formatted(options.format, options.columns, width: Terminal.outputColumns)
  }
}
