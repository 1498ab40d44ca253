import Benchmarks
import Jobs
import MPI
import Reporting
import Results

/// The rows of a benchmark on their way to standard output: as jsonl each goes when it is done, so
/// that a run that is ended early leaves what it has measured; in any other form all go together.
struct RowPrinter<Row: BenchResult> {
  private let table: TableOptions
  private let environment: BenchEnvironment
  private let benchmark: String
  private var rows: [Row] = []

  init(_ table: TableOptions, _ environment: BenchEnvironment, of benchmark: String = Row.benchmark)
  {
    self.table = table
    self.environment = environment
    self.benchmark = benchmark
  }

  /// Takes rows that are done, on rank 0; called by all ranks.
  mutating func add(_ new: [Row], on world: borrowing Communicator) throws {
    try world.agreed { if world.rank == 0 { try add(new) } }
  }

  /// Takes rows that are done, of a command that is no job.
  mutating func add(_ new: [Row]) throws {
    rows += new
    if table.format == .jsonl, !new.isEmpty { try printReport(text(of: new)) }
  }

  /// Prints what has not been printed; called by all ranks.
  func finish(on world: borrowing Communicator) throws {
    try world.agreed { if world.rank == 0 { try finish() } }
  }

  /// Prints what has not been printed, of a command that is no job.
  func finish() throws {
    if table.format != .jsonl { try printReport(text(of: rows)) }
  }

  private func text(of rows: [Row]) throws -> String {
    try BenchReport(rows, in: environment, of: benchmark).text(table)
  }
}
